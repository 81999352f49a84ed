"""`init`, `plan` and `run`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bessemer.cli.common import (
    ASSIGNMENTS,
    JSON,
    RECIPE,
    LocalPath,
    advise,
    print_json,
    print_table,
    print_text,
    say,
    use_root,
)
from bessemer.formatting import format_bytes, format_count, format_seconds
from bessemer.recipe.inputs import kind_of

UNTIL = click.option("--until", metavar="STAGE", help="The last stage to run.")
CHATS = ("finetune", "align", "reinforce")
"""Stages whose models answer in a conversation."""
RERUN = click.option(
    "--rerun", metavar="STAGE", multiple=True, help="Run this stage again, even if its artifact exists."
)


@click.command()
@click.argument("folder", type=LocalPath())
@click.option("--from", "recipe", default="quickstart", show_default=True, help="The recipe to copy.")
def init(folder: Path, recipe: str) -> None:
    """Copy a recipe to FOLDER, to edit."""
    import shutil

    from bessemer.errors import UsageError
    from bessemer.recipe.problems import nearest

    pipelines = recipes_folder()
    names = [path.parent.name for path in sorted(pipelines.glob("*/recipe.yaml"))]
    if recipe not in names:
        raise UsageError(f"no recipe is called `{recipe}`", hint=nearest(recipe, names))
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"`{folder}` is not empty", hint="name a new folder")
    shutil.copytree(pipelines / recipe, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    say(f"copied `{recipe}` to {folder}; {folder / 'README.md'} describes it")
    say(f"next: bessemer plan {shlex.quote(str(folder / 'recipe.yaml'))}")


def recipes_folder() -> Path:
    """The recipes that `init` copies: inside the package in a wheel, next to `platform/` in a source tree."""
    package = Path(__file__).parents[1]
    inside = package / "pipelines"
    return inside if inside.is_dir() else package.parents[1] / "pipelines"


@click.command()
@RECIPE
@ASSIGNMENTS
@UNTIL
@RERUN
@JSON
def plan(recipe: Path, assignments: tuple[str, ...], until: str | None, rerun: tuple[str, ...], as_json: bool) -> None:
    """Show the stages that would run or be reused, each with the reason."""
    from bessemer.artifacts.store import Store
    from bessemer.runner.locations import storage_root
    from bessemer.runner.plan import load_recipe, make_plan, plan_warnings

    loaded = load_recipe(recipe, assignments)
    store = Store(use_root(storage_root(loaded)))
    planned = make_plan(loaded, store, until=until, rerun=rerun)
    warnings = plan_warnings(loaded, planned, store)
    sweep = None
    if loaded.settings.sweep and loaded.settings.sweep.param_space:
        from bessemer.runner.sweep_plan import plan_sweep

        sweep = plan_sweep(loaded, store)
    if as_json:
        print_json({**planned.to_json(), "warnings": warnings})
        return
    rows = [
        [
            stage.name,
            "run" if stage.runs else "reuse",
            ", ".join(f"{kind_of(key)} of {source}" for key, source in stage.inputs.items()) or "-",
            stage.fingerprint[:12],
            stage.why,
        ]
        for stage in planned.stages
    ]
    print_table(["stage", "", "reads", "fingerprint", "why"], rows)
    for stage in planned.stages:
        if stage.facts:
            print_text("")
            print_table([stage.name, "value", "by"], _facts(stage.facts))
    if warnings:
        say("")
    for name, said in warnings.items():
        for sentence in said:
            say(f"warning: `{name}`: {sentence}")
    if sweep:
        print_text(f"\nsweep: {sweep.describe()}")
    chosen = [str(recipe), *assignments]
    if not sweep:
        chosen += stage_options(until, rerun)
    say(f"\nnext: bessemer {'sweep' if sweep else 'run'} {shlex.join(chosen)}")


def stage_options(until: str | None, rerun: Sequence[str]) -> list[str]:
    """The options `--until` and `--rerun` as they were given."""
    return [*(["--until", until] if until else []), *(part for name in rerun for part in ("--rerun", name))]


def _facts(facts: dict[str, Any]) -> list[list[str]]:
    """Rows of name, value and rule."""
    return [[f"  {name}", _shown(fact["value"]), fact.get("by", "")] for name, fact in facts.items()]


def _shown(value: Any) -> str:
    return format_count(value) if isinstance(value, int | float) else str(value)


@click.command()
@RECIPE
@ASSIGNMENTS
@UNTIL
@RERUN
def run(recipe: Path, assignments: tuple[str, ...], until: str | None, rerun: tuple[str, ...]) -> None:
    """Run a recipe; the same command again resumes.

    FIELD=VALUE sets a setting, for example `pretrain.learning_rate=1e-3` or `seed=2`.
    """
    from bessemer.artifacts.store import Store
    from bessemer.errors import BessemerError
    from bessemer.runner.display import make_display
    from bessemer.runner.locations import storage_root
    from bessemer.runner.plan import load_recipe, make_plan

    loaded = load_recipe(recipe, assignments)
    store = Store(use_root(storage_root(loaded)))
    planned = make_plan(loaded, store, until=until, rerun=rerun)
    command = shlex.join(["bessemer", *sys.argv[1:]])
    from bessemer.runner.run import run_recipe

    display = make_display([stage.name for stage in planned.stages])
    try:
        finished = run_recipe(loaded, planned, display, command=command, rerun=rerun, conclude=write_report)
    except BessemerError as error:
        advise(error, command)
        raise
    _conclude(finished, store)


def write_report(run: Any) -> Path:
    """Writes the HTML report into the run's folder and returns its path."""
    from bessemer import storage
    from bessemer.report.build import build

    path: Path = run.folder / "report.html"
    storage.write_text(path, build(run.folder))
    return path


def _conclude(finished: Any, store: Any) -> None:
    from bessemer.artifacts.manifest import Manifest

    stages = finished.stages()
    ran = [name for name, stage in stages.items() if stage["event"] == "stage_finished"]
    if not ran:
        say(f"nothing to do: all {len(stages)} stages are reused")
    for name in ran:
        folder = finished.artifact_folder(name)
        manifest = Manifest.read(folder)
        if manifest:
            say(f"{name}: {format_bytes(manifest.size_bytes)} in {format_seconds(manifest.seconds)}, {folder}")
    say(f"run {finished.name}")
    say(f"report: {finished.folder / 'report.html'}")
    last = next((s for s in reversed(list(stages.values())) if s.get("produces") == "model"), None)
    if last is None:
        say("next: bessemer ui")
        return
    model = shlex.quote(str(finished.artifact_folder(last["name"]) / "data"))
    talk = f"bessemer chat {model}" if last["kind"] in CHATS else f"bessemer generate {model} PROMPT"
    say(f"next: {talk}, or look at it: bessemer ui")
