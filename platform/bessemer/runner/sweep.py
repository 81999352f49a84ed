"""Searches over fields of a recipe, data choices included, with Ray Tune.

A trial is the recipe with some fields set. Stages that no searched field can change run once, before the trials. Below
them, trials with equal settings share artifacts by fingerprint, and the lease of an artifact makes the second trial
wait. A trial runs inside its Tune actor (`trial.py`), and ASHA stops trials with poor metrics. In MLflow, trials are
flat child runs of the sweep and never register models.

    runs/<recipe>-<date>-<time>-<4 hex>/   sweep.json  events.jsonl  trials/<id>/   (each a run folder)

The same command draws the same trials, because the seed is the recipe's, and reuses each finished trial by fingerprint.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.artifacts.store import Store
from bessemer.errors import BessemerError, Stopped
from bessemer.recipe import overrides
from bessemer.recipe.recipe import LoadedRecipe
from bessemer.runner import runs, stopping
from bessemer.runner.cluster import Cluster
from bessemer.runner.display import Display, native_errors_to
from bessemer.runner.locations import storage_root
from bessemer.runner.plan import RunPlan, change_recipe
from bessemer.runner.run import run_recipe
from bessemer.runner.runs import Run
from bessemer.runner.source_code import git_state
from bessemer.runner.sweep_plan import SweepPlan, plan_sweep
from bessemer.stages.engine.training_workers import in_thread
from bessemer.tracking.mirror import Mirror

GRACE_SECONDS = 60.0
"""Seconds that trials have to save their state after a stop request. A second request does not wait."""


@dataclass
class TrialResult:
    """One trial: the fields that it set, its final status, and the last value of its metric."""

    name: str
    assignments: dict[str, Any]
    status: str
    """`finished`, `stopped early` (by the scheduler), `stopped` (with the sweep) or `failed`."""
    metric: float | None


@dataclass
class SweepResult:
    metric: str
    mode: str
    before: dict[str, Any]
    """The recipe's own values of the searched fields."""
    trials: list[TrialResult]

    def ranked(self) -> list[TrialResult]:
        """The trials, best first. A failed trial, or one without a finite metric, is never the best."""
        sign = 1 if self.mode == "min" else -1

        def rank(trial: TrialResult) -> tuple[bool, float]:
            return not _counts(trial), sign * trial.metric if _counts(trial) and trial.metric is not None else 0.0

        return sorted(self.trials, key=rank)

    @property
    def best(self) -> TrialResult | None:
        """The trial with the best metric; None if no trial has one."""
        return next((trial for trial in self.ranked() if _counts(trial)), None)

    def to_json(self) -> dict[str, Any]:
        """JSON values; a metric that is not a finite number is null."""
        trials = [asdict(trial) | {"metric": trial.metric if _finite(trial) else None} for trial in self.ranked()]
        return {**asdict(self), "trials": trials, "best": self.best.name if self.best else None}


def run_sweep(
    recipe: LoadedRecipe,
    make_display: Callable[[list[str]], Display],
    say: Callable[[str], None],
    *,
    command: str,
) -> SweepResult:
    """Runs the sweep of `recipe`.

    Raises RecipeError for a bad search space, UsageError if there is none, Stopped if it is asked to stop, and
    BessemerError if no trial has a finite metric.
    """
    store = Store(storage_root(recipe))
    planned = plan_sweep(recipe, store)
    sweep_run = runs.create(store.root, recipe, planned.plan)
    runs.start(sweep_run, command=command, attempt=1, source=git_state(recipe.path.parent))
    cluster = Cluster(recipe.settings.cluster, dashboard=True)  # Tune asks it for actors of stopped trials
    with (
        lease.hold(sweep_run.folder, sweep_run.name, waiting=lambda owner: None),
        stopping.graceful(sweep_run.stop_file, GRACE_SECONDS) as asked,
        native_errors_to(sweep_run.log_file(runs.RAY_LOG)),
        Mirror(sweep_run.folder, recipe.settings.tracking, say, {"bessemer.sweep_metric": planned.settings.metric})
        as mirror,
    ):  # fmt: skip
        cluster.on_death = asked.fail
        try:
            _run_shared(planned, sweep_run, cluster, make_display, say, command)
            result = _tune(planned, sweep_run, cluster, say)
            storage.write_json(sweep_run.folder / "sweep.json", result.to_json())
            if sweep_run.stop_file.exists():
                raise Stopped("stopped as asked", hint="run the same command again; it reuses the finished trials")
            if result.best is None:
                raise BessemerError(
                    f"no trial ended with a finite `{planned.settings.metric}`",
                    hint=f"see why: `{sweep_run.folder / 'trials'}` holds the events and logs of each trial",
                )
        except BaseException as error:  # recorded, and raised again
            shown = asked.error or error  # Ray's compiled code wraps the error that interrupts it
            if sweep_run.status() != "stopped":
                stopped = isinstance(shown, Stopped | KeyboardInterrupt)
                message = shown.message if isinstance(shown, BessemerError) else str(shown) or type(shown).__name__
                sweep_run.record("run_stopped" if stopped else "run_failed", error=message)
            if shown is not error:
                raise shown from error
            raise
        finally:
            cluster.stop()
        sweep_run.record("run_finished")
        mirror.tag({"bessemer.best_trial": result.best.name})
        mirror.finish()
    return result


def best_assignments(recipe: LoadedRecipe, best: TrialResult) -> list[str]:
    """The values of the best trial as `field=value`, with every digit and with absolute paths."""
    resolved = change_recipe(recipe, best.assignments).resolved()
    return [
        overrides.assignment(field, overrides.with_paths(value, overrides.value_at(resolved, field)))
        for field, value in best.assignments.items()
    ]


def _run_shared(
    planned: SweepPlan,
    sweep_run: Run,
    cluster: Cluster,
    make_display: Callable[[list[str]], Display],
    say: Callable[[str], None],
    command: str,
) -> None:
    """Runs the stages that all trials share."""
    names = [stage.name for stage in planned.shared]
    if not names:
        return
    say(f"stages that the trials share run once: {', '.join(names)}")
    partial = RunPlan(planned.plan.recipe, planned.plan.fingerprint, planned.shared)
    run = runs.fill(Run(sweep_run.folder / "shared", sweep_run.root, sweep_run.folder), planned.recipe, partial)
    run_recipe(planned.recipe, partial, make_display(names), command=command, run=run, cluster=cluster, track=False)


def _tune(planned: SweepPlan, sweep_run: Run, cluster: Cluster, say: Callable[[str], None]) -> SweepResult:
    # Tune's own handler of SIGINT would end the sweep as if it had finished.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the trials' folders already contain these records
    ray = cluster.start()
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    from bessemer.runner.tune import RANK, Progress, StopRequest, TrialActor, allot

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # `Progress` says what failed, in one line
    recipe, settings, schedule = planned.recipe, planned.settings, planned.settings.scheduler
    searched = [entry for entry in recipe.stages if entry.name not in {stage.name for stage in planned.shared}]
    inside = all(entry.config.num_workers in (None, 0) for entry in searched)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    resources, concurrent = allot(nodes, settings.max_concurrent_trials, inside=inside)
    cores = f", {resources['CPU']:g} cores each" if inside else ""
    say(f"{planned.describe()}: {concurrent} at the same time{cores}")
    if concurrent < settings.max_concurrent_trials:
        say(f"the cluster has no room for `max_concurrent_trials: {settings.max_concurrent_trials}`")

    def asked() -> bool:
        return sweep_run.stop_file.exists()

    actor = tune.with_parameters(
        TrialActor,
        recipe=recipe,
        sweep=sweep_run.folder,
        metric=settings.metric,
        mode=settings.mode,
    )
    progress = Progress(sweep_run, settings.num_trials, settings.metric, settings.mode, say, asked)
    tuner = tune.Tuner(
        tune.with_resources(actor, resources),
        param_space={field: _space(tune, space) for field, space in settings.param_space.items()},
        tune_config=tune.TuneConfig(
            metric=RANK,
            mode=settings.mode,
            num_samples=settings.num_draws,
            search_alg=BasicVariantGenerator(max_concurrent=concurrent, random_state=recipe.settings.seed),
            scheduler=ASHAScheduler(
                max_t=10**6, grace_period=schedule.grace_period, reduction_factor=schedule.reduction_factor
            )
            if schedule
            else FIFOScheduler(),
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(sweep_run.folder),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # a trial saves its own checkpoints
            stop=StopRequest(asked),
            callbacks=[progress],
        ),
    )
    results = in_thread(tuner.fit, lambda: None)  # its calls of a dead GCS would block the main thread for a minute
    return _collect(planned, sweep_run, results, progress.configs)


def _space(tune: Any, space: dict[str, Any]) -> Any:
    ((name, arguments),) = space.items()
    if name == "grid":
        return tune.grid_search(arguments)
    return tune.choice(arguments) if name == "choice" else getattr(tune, name)(*arguments)


def _collect(planned: SweepPlan, sweep_run: Run, results: Any, configs: Mapping[str, Mapping[str, Any]]) -> SweepResult:
    """The result of every started trial."""
    from bessemer.runner.tune import ENDED, plain

    stopped = sweep_run.stop_file.exists()
    trials = []
    for result in results:
        name = Path(result.path).name
        if name not in configs:
            continue  # the sweep was stopped before it
        folder = sweep_run.folder / "trials" / name
        ended = (result.metrics or {}).get(ENDED)  # a reused trial may finish although the scheduler stopped it
        finished = ended and (folder / runs.EVENTS).exists() and Run(folder, sweep_run.root).status() == "finished"
        status = "finished" if finished else "failed" if result.error else "stopped" if stopped else "stopped early"
        values = {field: plain(value) for field, value in configs[name].items()}
        trials.append(TrialResult(name, values, status, (result.metrics or {}).get(planned.settings.metric)))
    resolved = planned.recipe.resolved()
    before = {field: overrides.value_at(resolved, field) for field in planned.settings.param_space}
    return SweepResult(planned.settings.metric, planned.settings.mode, before, trials)


def _finite(trial: TrialResult) -> bool:
    return trial.metric is not None and math.isfinite(trial.metric)


def _counts(trial: TrialResult) -> bool:
    """Whether the trial can be the best."""
    return _finite(trial) and trial.status != "failed"
