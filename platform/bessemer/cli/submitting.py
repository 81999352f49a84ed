"""`submit` and `sweep`."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bessemer.cli.common import ASSIGNMENTS, RECIPE, advise, format_setting, print_table, print_text, say, use_root
from bessemer.cli.recipes import RERUN, UNTIL, stage_options

if TYPE_CHECKING:
    from bessemer.runner.jobs import Jobs

FINISHED = ("SUCCEEDED", "FAILED", "STOPPED")


@click.command()
@RECIPE
@ASSIGNMENTS
@UNTIL
@RERUN
@click.option("--address", required=True, help="The cluster's dashboard: `http://host:8265`.")
@click.option("--follow", is_flag=True, help="Print the job's log until it ends, and end as it does.")
def submit(
    recipe: Path,
    assignments: tuple[str, ...],
    until: str | None,
    rerun: tuple[str, ...],
    address: str,
    follow: bool,
) -> None:
    """Run a recipe as a job on a Ray cluster."""
    from bessemer.runner import submit as submitting
    from bessemer.runner.locations import storage_root
    from bessemer.runner.plan import load_recipe

    loaded = load_recipe(recipe, assignments)
    use_root(storage_root(loaded))
    name = submitting.submit(loaded, address, stage_options(until, rerun))
    print_text(name)
    where = f"{name} --address {address}"
    say(f"next: bessemer status {where}\n      bessemer logs {where}\n      bessemer stop {where}")
    if follow:
        from bessemer.runner.jobs import Jobs

        sys.exit(_follow(Jobs(address), name))


def _follow(jobs: Jobs, name: str) -> int:
    """Prints a job's log as it grows; returns the exit code that fits its end."""
    shown = 0
    while True:
        status = jobs.status(name)
        log = jobs.log(name)
        print_text(log[shown:], nl=False)
        shown = len(log)
        if status in FINISHED:
            return {"SUCCEEDED": 0, "STOPPED": 130}.get(status, 1)
        time.sleep(0.5)


@click.command()
@RECIPE
@ASSIGNMENTS
@click.option("--num-samples", type=click.IntRange(min=1), help="Draws of the search space; the recipe's by default.")
def sweep(recipe: Path, assignments: tuple[str, ...], num_samples: int | None) -> None:
    """Search fields of a recipe with Ray Tune; print the best as a diff.

    Stages that trials share run once. The same command again reuses every trial that finished.
    """
    from bessemer.errors import BessemerError
    from bessemer.runner.display import make_display
    from bessemer.runner.locations import storage_root
    from bessemer.runner.plan import load_recipe
    from bessemer.runner.sweep import best_assignments, run_sweep

    if num_samples:
        assignments = (*assignments, f"sweep.num_samples={num_samples}")
    loaded = load_recipe(recipe, assignments)
    use_root(storage_root(loaded))
    command = shlex.join(["bessemer", *sys.argv[1:]])
    try:
        result = run_sweep(loaded, make_display, say, command=command)
    except BessemerError as error:
        advise(error, command)
        raise
    best = result.best
    assert best is not None, "a sweep without a best trial is an error"
    names = list(best.assignments)
    rows = [
        [
            trial.name,
            *[format_setting(trial.assignments[name]) for name in names],
            trial.status,
            format_setting(trial.metric),
        ]
        for trial in result.ranked()
    ]
    print_table(["trial", *names, "status", result.metric], rows)
    print_text(f"\nbest: {best.name}, {result.metric} {format_setting(best.metric)}\n")
    for name in names:
        if result.before[name] != best.assignments[name]:
            print_text(f"- {name}: {result.before[name]}\n+ {name}: {best.assignments[name]}")
    chosen = best_assignments(loaded, best)
    say(f"\nnext: {shlex.join(['bessemer', 'run', str(recipe), *assignments, *chosen])}")
