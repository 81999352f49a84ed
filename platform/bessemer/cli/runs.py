"""`runs`, `status`, `logs`, `stop`, `report`, `gc`: list runs, follow one, end it, and delete artifacts."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bessemer.cli.common import (
    JSON,
    LocalPath,
    format_setting,
    print_json,
    print_table,
    print_text,
    say,
    storage_option,
)
from bessemer.formatting import format_bytes, format_number, format_seconds, parse_bytes

if TYPE_CHECKING:
    from bessemer.runner.garbage import Garbage
    from bessemer.runner.trials import SweepState

ADDRESS = click.option("--address", help="Ask a Ray cluster for the job RUN instead: `http://host:8265`.")
RUN = click.argument("run_name", metavar="[RUN]", required=False)


@click.command()
@storage_option
@JSON
def runs(root: Path, as_json: bool) -> None:
    """List the runs, the newest first."""
    from bessemer.artifacts.run_files import damaged_files
    from bessemer.runner.runs import all_runs

    listed = list(all_runs(root))
    found = [_facts(run) for run in listed]
    for run in listed:
        for name in damaged_files(run.folder):
            say(f"warning: `{run.folder / name}` is damaged; `{run.name}` is shown without it")
    if as_json:
        print_json(found)
    elif not found:
        say(f"there are no runs under {root}\nnext: bessemer run RECIPE")
    else:
        print_table(
            ["run", "status", "stages", "begun", "commit", "score", "command"], [_row(facts) for facts in found]
        )
        say("\nnext: bessemer status RUN")


def _facts(run: Any) -> dict[str, Any]:
    from bessemer.runner.trials import sweep_state

    stages = run.stages()
    done = sum(stage["event"] in ("stage_finished", "stage_reused") for stage in stages.values())
    sweep = sweep_state(run)
    started = [event for event in run.events() if event["event"] == "run_started"]
    begun = started[0]["time"] if started else ""
    newest = started[-1] if started else {}
    headline = run.headline()
    return {
        "run": run.name,
        "status": run.status(),
        "stages": f"{sweep.num_ended}/{sweep.settings.num_trials} trials" if sweep else f"{done}/{len(stages)}",
        "begun": begun[:19].replace("T", " "),
        "git_commit": newest.get("git_commit"),
        "git_dirty": newest.get("git_dirty"),
        "headline": {"metric": headline[0], "value": headline[1]} if headline else None,
        "command": newest.get("command", ""),
    }


def _row(facts: dict[str, Any]) -> list[str]:
    """The cells of one run; `+` after the commit means that tracked files differed from it."""
    commit = (facts["git_commit"] or "")[:10] + ("+" if facts["git_dirty"] else "")
    score = f"{facts['headline']['metric']} {format_number(facts['headline']['value'])}" if facts["headline"] else ""
    return [facts["run"], facts["status"], facts["stages"], facts["begun"], commit, score, facts["command"]]


@click.command()
@RUN
@storage_option
@ADDRESS
@JSON
def status(run_name: str | None, root: Path, address: str | None, as_json: bool) -> None:
    """Show how far a run is (the newest by default)."""
    if address:
        from bessemer.runner.jobs import Jobs

        job = Jobs(address).find(run_name)
        facts = {"job": job.name, "recipe": job.recipe, "status": job.status.lower(), "message": job.message}
        print_json(facts) if as_json else print_text(f"{job.name}: {job.status.lower()}\n{job.message}".rstrip())
        say(f"\nnext: bessemer logs {job.name} --address {address}")
        return
    from bessemer.artifacts.manifest import Manifest
    from bessemer.runner.run import summary
    from bessemer.runner.runs import find
    from bessemer.runner.trials import sweep_state

    run = find(root, run_name)
    sweep = sweep_state(run)
    stages = sweep.shared.stages() if sweep else run.stages()
    if as_json:
        found: dict[str, Any] = {"run": run.name, "status": run.status(), "seconds": run.elapsed()}
        found |= {"error": run.error(), "stages": stages}
        print_json(found | ({"sweep": sweep.to_json()} if sweep else {}))
        return
    elapsed = run.elapsed()
    took = "" if elapsed is None else f" {'for' if run.status() == 'running' else 'in'} {format_seconds(elapsed)}"
    print_text(f"{run.name}: {run.status()}{took}")
    if run.status() == "failed" and (error := run.error()) not in (
        None,
        *(one.get("error") for one in stages.values()),
    ):
        print_text(f"error: {error}")
    rows = []
    for name, stage in stages.items():
        manifest = Manifest.read(run.artifact_folder(name))
        note = stage.get("error") or (summary(manifest) if manifest else "")
        seconds = format_seconds(stage["seconds"]) if "seconds" in stage else ""
        rows.append([name, stage["event"].removeprefix("stage_"), seconds, note])
    print_table(["stage", "state", "time", ""], rows)
    if sweep:
        _print_trials(sweep)
    say(
        f"\nnext: bessemer logs {run.name}"
        if run.status() in ("failed", "running")
        else f"\nnext: bessemer report {run.name}"
    )


def _print_trials(sweep: SweepState) -> None:
    names = list(sweep.settings.param_space)
    print_text(f"\n{len(sweep.trials)} of {sweep.settings.num_trials} trials have begun")
    rows = [
        [
            trial.name,
            *[format_setting(trial.assignments.get(name)) for name in names],
            trial.status,
            format_setting(trial.metric),
            "" if trial.seconds is None else format_seconds(trial.seconds),
            trial.note,
        ]
        for trial in sweep.trials
    ]
    if rows:
        print_table(["trial", *names, "state", sweep.settings.metric, "time", ""], rows)
    if best := sweep.best_trial:
        print_text(f"best: {best}")


@click.command()
@RUN
@click.option("--stage", help="Only this stage's log; `ray` is the log of Ray's own processes.")
@storage_option
@ADDRESS
def logs(run_name: str | None, stage: str | None, root: Path, address: str | None) -> None:
    """Print the logs of a run's stages, or of a job on a cluster."""
    if address:
        from bessemer.runner.jobs import Jobs

        jobs = Jobs(address)
        print_text(jobs.log(jobs.find(run_name).name), nl=False)
        return
    from bessemer.runner.runs import find

    run = find(root, run_name)
    found = [(name, path) for name, path in run.log_files() if stage in (None, name.rpartition("/")[2])]
    for name, path in found:
        print_text(f"== {name}")
        print_text(path.read_text(encoding="utf-8"), nl=False)
    if not found:
        say(f"`{run.name}` has no log" + (f" of `{stage}`" if stage else "") + f"\nnext: bessemer status {run.name}")


@click.command()
@RUN
@storage_option
@ADDRESS
def stop(run_name: str | None, root: Path, address: str | None) -> None:
    """Ask a run to stop in good order; the command that began it continues it."""
    if address:
        from bessemer.runner.jobs import Jobs

        jobs = Jobs(address)
        job = jobs.find(run_name)
        jobs.stop(job.name)
        say(f"asked {job.name} to stop\nnext: bessemer status {job.name} --address {address}")
        return
    from bessemer.errors import UsageError
    from bessemer.runner.runs import find

    run = find(root, run_name)
    if run.status() != "running":
        raise UsageError(f"run `{run.name}` is not running: {run.status()}", hint="`bessemer runs` lists the runs")
    run.stop_file.touch()
    say(f"asked {run.name} to stop\nnext: bessemer status {run.name}")


@click.command()
@RUN
@click.option("--output", type=LocalPath(), help="Where to write it; in the run's folder by default.")
@storage_option
def report(run_name: str | None, output: Path | None, root: Path) -> None:
    """Write the HTML report of a run and print its path."""
    from bessemer import storage
    from bessemer.report.build import build
    from bessemer.runner.runs import find

    run = find(root, run_name)
    path = output or run.folder / "report.html"
    storage.write_text(path, build(run.folder))
    print_text(str(path))


@click.command()
@click.argument("run_names", metavar="[RUN]...", nargs=-1)
@click.option("--budget", metavar="SIZE", help="Also list artifacts of old runs, until the rest fits, e.g. `20GiB`.")
@click.option("--yes", is_flag=True, help="Delete the listed artifacts without asking.")
@storage_option
@JSON
def gc(run_names: tuple[str, ...], budget: str | None, yes: bool, root: Path, as_json: bool) -> None:
    """List the artifacts that can be deleted; delete them with `--yes`.

    Without arguments: the artifacts that no run and no registered model needs. With RUN: those that only these runs
    need. With `--budget`: also those of old finished runs.
    """
    from bessemer.errors import UsageError
    from bessemer.runner.garbage import delete, find_garbage, own_sizes

    try:
        size = parse_bytes(budget) if budget is not None else None
    except ValueError as error:
        raise UsageError(str(error)) from None
    garbage = find_garbage(root, budget_bytes=size, named=run_names)
    if as_json:
        if yes:
            delete(root, garbage)
        print_json({**garbage.to_json(), "deleted": yes, "own_bytes": own_sizes(root)})
        return
    for removal in garbage.removals:
        print_text(
            f"{format_bytes(removal.size)}\t{removal.folder}\t{', '.join(removal.needed_by) or 'no run needs it'}"
        )
    asked = bool(run_names) or budget is not None
    if not garbage.removals:
        say(f"nothing to delete; {format_bytes(garbage.kept)} are needed")
    elif yes or (asked and sys.stdin.isatty() and click.confirm(_question(garbage), err=True)):
        freed = delete(root, garbage)
        used = garbage.size - freed
        say(f"freed {format_bytes(freed)}; kept {format_bytes(garbage.kept + used)}")
        if used:
            say(f"{format_bytes(used)} of these were listed; runs have started to use them")
        return
    else:
        say(f"nothing was deleted: it would free {format_bytes(garbage.size)} and keep {format_bytes(garbage.kept)}")
        say(f"next: bessemer gc {shlex.join([*run_names, *(['--budget', budget] if budget else []), '--yes'])}")
    if not asked:
        sizes = sorted(own_sizes(root).items(), key=lambda item: -item[1])
        if any(size for _, size in sizes):
            say("\nfinished runs, and the size of the artifacts that only they need (`bessemer gc RUN` lists these):")
        for name, own in sizes:
            if own:
                say(f"{format_bytes(own)}\t{name}")


def _question(garbage: Garbage) -> str:
    losing = sorted({name for removal in garbage.removals for name in removal.needed_by})
    lost = f"; the reports and `explain` of {', '.join(losing)} will lack them" if losing else ""
    return f"delete {len(garbage.removals)} artifacts, {format_bytes(garbage.size)}{lost}?"
