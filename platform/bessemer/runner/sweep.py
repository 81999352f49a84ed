"""Searches over fields of a recipe, data choices included, with Ray Tune.

A trial is the recipe with some fields set. Stages that no searched field can change run once, before the trials;
below them, trials with equal settings share by fingerprint, and the lease of an artifact makes the second wait. A
trial works inside its Tune actor. Its metrics are read from the artifact's own `metrics/*.jsonl`, so the trainer knows
nothing of Tune; ASHA stops those that are behind. Trials are flat child runs of the sweep in MLflow and never register
models.

    runs/<recipe>-<date>-<time>-<4 hex>/   sweep.json  events.jsonl  trials/<number>/   (each a run folder)

The same command draws the same trials (the seed is the recipe's), and a trial that finished is reused by fingerprint.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.artifacts.manifest import Manifest
from bessemer.artifacts.store import Store
from bessemer.errors import BessemerError, Stopped, UsageError
from bessemer.recipe.problems import Problem, raise_problems
from bessemer.recipe.recipe import LoadedRecipe, SweepSettings
from bessemer.runner import runs, stopping
from bessemer.runner.cluster import Cluster
from bessemer.runner.display import Display
from bessemer.runner.locations import storage_root
from bessemer.runner.plan import Plan, load_recipe, make_plan
from bessemer.runner.run import run_recipe
from bessemer.runner.runs import Run
from bessemer.runner.source_code import git_state
from bessemer.tracking.mirror import Mirror
from bessemer.tracking.sweeps import record_sweep

SPACES = {
    "choice": 1, "grid": 1, "uniform": 2, "loguniform": 2, "quniform": 3, "qloguniform": 3, "randint": 2,
    "lograndint": 2, "qrandint": 3,
}  # fmt: skip
"""Ray Tune's search spaces by name, with their number of arguments; `choice` and `grid` take a list."""


@dataclass
class Trial:
    """One trial: the fields it set, how it ended, and its best metric."""

    name: str
    assignments: dict[str, Any]
    status: str
    metric: float | None


@dataclass
class SweepResult:
    metric: str
    mode: str
    before: dict[str, Any]
    """What the recipe says for the searched fields."""
    trials: list[Trial]

    def ranked(self) -> list[Trial]:
        """The best first; trials without a metric last."""
        sign = 1 if self.mode == "min" else -1
        return sorted(self.trials, key=lambda t: (t.metric is None, sign * (t.metric or 0.0)))

    @property
    def best(self) -> Trial:
        return self.ranked()[0]


def run_sweep(
    recipe: LoadedRecipe,
    make_display: Callable[[list[str]], Display],
    say: Callable[[str], None],
    *,
    command: str,
) -> SweepResult:
    """Runs the sweep of `recipe`. Raises RecipeError for a bad search space, UsageError if there is none."""
    settings = recipe.settings.sweep
    if settings is None or not settings.param_space:
        raise UsageError(
            "the recipe has no search space",
            hint="add `sweep: {param_space: {pretrain.learning_rate: {loguniform: [1e-4, 1e-2]}}}`",
        )
    check_space(recipe, settings)
    store = Store(storage_root(recipe))
    plan = make_plan(recipe, store)
    sweep_run = runs.create(store.root, recipe, plan)
    runs.start(sweep_run, command=command, attempt=1, source=git_state(recipe.path.parent))
    cluster = Cluster(recipe.settings.cluster, dashboard=True)  # Tune asks it for what stopped trials left
    try:
        with (
            lease.hold(sweep_run.folder, sweep_run.name, waiting=lambda owner: None),
            stopping.graceful(sweep_run.stop_file),
            Mirror(sweep_run.folder, recipe.settings.tracking, say, {}),
        ):
            shared = shared_stages(recipe, plan, settings)
            if shared:
                say(f"stages that the trials share run once: {', '.join(stage.name for stage in shared)}")
                partial = Plan(plan.recipe, plan.fingerprint, tuple(shared))
                shared_run = runs.fill(Run(sweep_run.folder / "shared", store.root), recipe, partial)
                names = [stage.name for stage in shared]
                run_recipe(
                    recipe, partial, make_display(names), command=command, run=shared_run, cluster=cluster, track=False
                )
            result = _tune(recipe, settings, sweep_run, cluster, say)
    except BaseException as error:  # recorded, and raised again
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        sweep_run.record("run_stopped" if stopped else "run_failed", error=str(error) or type(error).__name__)
        raise
    finally:
        cluster.stop()
    storage.write_json(sweep_run.folder / "sweep.json", asdict(result))
    sweep_run.record("run_finished")
    record_sweep(sweep_run.folder, recipe.settings.tracking, asdict(result), say)
    if result.best.metric is None:
        raise BessemerError(
            f"no trial reported `{settings.metric}`",
            hint=f"see why: `{sweep_run.folder / 'trials'}` holds each trial's events and logs",
        )
    return result


def check_space(recipe: LoadedRecipe, settings: SweepSettings) -> None:
    """Raises RecipeError unless every space is one that Ray Tune has and every field is one of the recipe's."""
    problems = []
    first: list[str] = []
    for field, space in settings.param_space.items():
        ((name, arguments),) = space.items() if len(space) == 1 else (("", []),)
        wanted = SPACES.get(name)
        if wanted is None:
            known = ", ".join(f"`{known}`" for known in SPACES)
            problems.append(Problem(f"the search space of `{field}` should be one of {known}", file=str(recipe.path)))
        elif not isinstance(arguments, list) or not arguments or (wanted > 1 and len(arguments) != wanted):
            count = f"{wanted} numbers" if wanted > 1 else "a list of values"
            problems.append(Problem(f"`{name}` of `{field}` takes {count}", file=str(recipe.path)))
        else:
            first.append(f"{field}={arguments[0]}")
    raise_problems(problems)
    load_recipe(recipe.path, [*recipe.assignments, *first])


def shared_stages(recipe: LoadedRecipe, plan: Plan, settings: SweepSettings) -> Sequence[Any]:
    """The stages that no searched field can change."""
    touched = {field.split(".")[0] for field in settings.param_space}
    if touched - {entry.name for entry in recipe.stages}:
        return ()  # a field of the whole recipe, such as the seed, may change any stage
    for stage in plan.stages:
        if touched & set(stage.inputs.values()):
            touched.add(stage.name)
    return [stage for stage in plan.stages if stage.name not in touched]


def _tune(
    recipe: LoadedRecipe, settings: SweepSettings, sweep_run: Run, cluster: Cluster, say: Callable[[str], None]
) -> SweepResult:
    ray = cluster.start()
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    cpus = max(1, int(ray.cluster_resources().get("CPU", 1)) // settings.max_concurrent_trials)
    schedule = settings.scheduler
    trainable = tune.with_parameters(
        run_trial,
        path=str(recipe.path.resolve()),
        assignments=recipe.assignments,
        sweep_folder=str(sweep_run.folder),
        metric=settings.metric,
    )
    say(f"{settings.num_samples} trials, {settings.max_concurrent_trials} at once, {cpus} CPUs each")
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"CPU": cpus}),
        param_space={field: _space(tune, space) for field, space in settings.param_space.items()},
        tune_config=tune.TuneConfig(
            metric=settings.metric,
            mode=settings.mode,
            num_samples=settings.num_samples,
            max_concurrent_trials=settings.max_concurrent_trials,
            search_alg=BasicVariantGenerator(random_state=recipe.settings.seed),
            scheduler=ASHAScheduler(
                max_t=10**6, grace_period=schedule.grace_period, reduction_factor=schedule.reduction_factor
            )
            if schedule
            else FIFOScheduler(),
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(sweep_run.folder), verbose=0),
    )
    results = tuner.fit()
    return _collect(recipe, settings, sweep_run, results)


def _space(tune: Any, space: dict[str, Any]) -> Any:
    ((name, arguments),) = space.items()
    if name == "grid":
        return tune.grid_search(arguments)
    return tune.choice(arguments) if name == "choice" else getattr(tune, name)(*arguments)


def run_trial(config: dict[str, Any], *, path: str, assignments: Sequence[str], sweep_folder: str, metric: str) -> None:
    """One trial, in its Tune actor: runs the recipe with the trial's fields, reports the metric as it is measured."""
    from ray import tune

    chosen = [
        f"{field}={value!r}" if isinstance(value, float) else f"{field}={value}" for field, value in config.items()
    ]
    recipe = load_recipe(Path(path), [*assignments, *chosen, *_in_process(path, assignments)])
    store = Store(storage_root(recipe))
    plan = make_plan(recipe, store)
    folder = Path(sweep_folder) / "trials" / tune.get_context().get_trial_id()
    run = runs.fill(Run(folder, store.root), recipe, plan)
    storage.write_json(folder / "trial.json", config)
    watcher = _Watcher(run, plan, metric, tune.report)
    with watcher:
        run_recipe(recipe, plan, Display([s.name for s in plan.stages]), command="", run=run, track=False)
    for value in headline(run, plan, metric):
        tune.report({metric: value})


def _in_process(path: str, assignments: Sequence[str]) -> list[str]:
    """Assignments that make a trial work inside its own actor, except where a stage says how many workers it wants."""
    recipe = load_recipe(Path(path), assignments)
    return ["num_workers=0"] if any(entry.config.num_workers is None for entry in recipe.stages) else []


def headline(run: Run, plan: Plan, metric: str) -> Iterator[float]:
    """The metric as the finished artifacts state it, if they do."""
    for stage in reversed(plan.stages):
        manifest = Manifest.read(run.artifact_folder(stage.name))
        if manifest and metric in manifest.metrics:
            yield manifest.metrics[metric]
            return


class _Watcher:
    """Reports the metric to Tune whenever a stage of the trial appends it to its metrics file."""

    def __init__(self, run: Run, plan: Plan, metric: str, report: Callable[[dict[str, Any]], None]) -> None:
        self._folders = [run.artifact_folder(stage.name) / "metrics" for stage in plan.stages if stage.runs]
        self._metric, self._report = metric, report
        self._reported: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="metrics")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(1.0):
            self._look()
        self._look()

    def _look(self) -> None:
        for folder in self._folders:
            for file in sorted(folder.glob("*.jsonl")):
                for line in storage.read_lines(file):
                    value = line["metrics"].get(self._metric)
                    if value is not None and line["step"] not in self._reported:
                        self._reported.add(line["step"])
                        self._report({self._metric: value, "step": line["step"]})


def _collect(recipe: LoadedRecipe, settings: SweepSettings, sweep_run: Run, results: Any) -> SweepResult:
    trials = []
    for result in results:
        metric = (result.metrics or {}).get(settings.metric)
        folder = sweep_run.folder / "trials" / Path(result.path).name
        finished = (folder / runs.EVENTS).exists() and Run(folder, sweep_run.root).status() == "finished"
        status = "failed" if result.error else "finished" if finished else "stopped early"
        trials.append(Trial(Path(result.path).name, result.config, status, metric))
    return SweepResult(settings.metric, settings.mode, _before(recipe, settings), trials)


def _before(recipe: LoadedRecipe, settings: SweepSettings) -> dict[str, Any]:
    resolved = recipe.resolved()
    values = {}
    for field in settings.param_space:
        names = field.split(".")
        place: Any = resolved["stages"] if names[0] in resolved["stages"] else resolved
        for name in names:
            place = place[int(name)] if isinstance(place, list) else place.get(name)
        values[field] = place
    return values
