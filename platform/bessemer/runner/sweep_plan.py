"""Plans a sweep: finds every mistake in it before the first trial, and the stages that all trials share.

Each value of a list and both ends of an interval are put into the recipe, one field at a time, and the changed recipe
is planned. So a value that a stage refuses is a problem of the recipe, and not a failed trial hours later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bessemer.artifacts.store import Store
from bessemer.errors import BessemerError, RecipeError, UsageError
from bessemer.recipe import yaml
from bessemer.recipe.problems import Problem, nearest, raise_problems
from bessemer.recipe.recipe import LoadedRecipe
from bessemer.recipe.sweep import SweepSettings
from bessemer.runner.comparability import incomparable
from bessemer.runner.plan import PlannedStage, RunPlan, change_recipe, make_plan
from bessemer.stages.engine.metric_names import metric_names


@dataclass(frozen=True)
class SweepPlan:
    """A sweep that can run."""

    recipe: LoadedRecipe
    settings: SweepSettings
    plan: RunPlan
    """The plan of the recipe without a trial's values."""
    shared: tuple[PlannedStage, ...]
    """The stages that no searched field can change; they run once, before the trials."""
    measured_by: str | None
    """The stage that records the metric in the recipe itself; None if it is not declared there."""

    def describe(self) -> str:
        """`8 trials (4 combinations of the grid, drawn 2 times) by `validation/loss` of `pretrain``."""
        settings = self.settings
        drawn = ""
        if settings.grid_size > 1:
            times = f", drawn {settings.num_draws} times" if settings.num_draws > 1 else ""
            drawn = f" ({settings.grid_size} combinations of the grid{times})"
        trials = "1 trial" if settings.num_trials == 1 else f"{settings.num_trials} trials"
        stage = f" of `{self.measured_by}`" if self.measured_by else ""
        return f"{trials}{drawn}, searched by `{settings.metric}`{stage}"


def plan_sweep(recipe: LoadedRecipe, store: Store) -> SweepPlan:
    """Raises RecipeError with every problem of the search space and the metric, UsageError if the recipe has none."""
    settings = recipe.settings.sweep
    if settings is None or not settings.param_space:
        raise UsageError(
            "the recipe has no search space",
            hint="add `sweep: {param_space: {pretrain.learning_rate: {loguniform: [1e-4, 1e-2]}}}`",
        )
    plan = make_plan(recipe, store)
    first = {field: next(_values(space)) for field, space in settings.param_space.items()}
    changed: dict[str, LoadedRecipe] = {}
    problems: dict[str, Problem] = {}
    for field, space in settings.param_space.items():
        for value in _values(space):
            try:
                one = change_recipe(recipe, {**first, field: value})
                make_plan(one, store)
                changed[f"`{field}` is {value}"] = one
            except RecipeError as error:
                problems |= {str(problem): problem for problem in error.problems if isinstance(problem, Problem)}
            except BessemerError as error:
                found = Problem(f"`{field}` is {value}: {error.message}", file=str(recipe.path), hint=error.hint)
                problems.setdefault(str(found), found)
    raise_problems(list(problems.values()))
    shared = _shared_stages(recipe, plan, settings)
    problem = _check_metric(changed, settings.metric, [stage.name for stage in shared])
    problem = problem or incomparable(recipe, settings.metric, settings.param_space)
    if problem:
        raise_problems([_at_metric(recipe, *problem)])
    return SweepPlan(recipe, settings, plan, shared, measuring_stage(recipe, settings.metric))


def _values(space: Mapping[str, Any]) -> Iterator[Any]:
    """The values of a search space that are tried out: all of a list, the ends of an interval."""
    ((name, arguments),) = space.items()
    if name in ("choice", "grid"):
        yield from arguments
    else:
        low, high = arguments[:2]
        yield from (low, high - 1 if name in ("randint", "lograndint") else high)  # Tune leaves their `high` out


def _shared_stages(recipe: LoadedRecipe, plan: RunPlan, settings: SweepSettings) -> tuple[PlannedStage, ...]:
    touched = {field.split(".")[0] for field in settings.param_space}
    if touched - {entry.name for entry in recipe.stages}:
        return ()  # a field of the whole recipe, such as the seed, may change any stage
    for stage in plan.stages:
        if touched & set(stage.inputs.values()):
            touched.add(stage.name)
    return tuple(stage for stage in plan.stages if stage.name not in touched)


def measuring_stage(recipe: LoadedRecipe, metric: str) -> str | None:
    """The last stage that records `metric`; None if none of them declares it."""
    names = {entry.name: metric_names(entry.kind, entry.config, entry.sources.keys()) for entry in recipe.stages}
    return next((name for name in reversed(names) if metric in (names[name] or ())), None)


def _check_metric(trials: Mapping[str, LoadedRecipe], metric: str, shared: Sequence[str]) -> tuple[str, str] | None:
    """The problem of a metric that some trials would not record, or that is equal in all, and its hint."""
    found = {when: measuring_stage(recipe, metric) for when, recipe in trials.items()}
    own = [entry for recipe in trials.values() for entry in recipe.stages if entry.name not in shared]
    names = [metric_names(entry.kind, entry.config, entry.sources.keys()) for entry in own]
    lacking = [when for when, stage in found.items() if stage is None]
    if lacking and None not in names:
        where = "" if len(lacking) == len(found) else f" if {lacking[0]}"
        known = {name for each in names for name in each or ()}
        return f"no stage of the recipe records the metric `{metric}`{where}", nearest(metric, known)
    constant = next((stage for stage in found.values() if stage in shared), None)
    if constant:
        message = f"`{metric}` is recorded by `{constant}`, which no searched field can change"
        return message, "search by a metric of a later stage"
    return None


def _at_metric(recipe: LoadedRecipe, message: str, hint: str) -> Problem:
    """A problem at the line or the assignment that sets the metric."""
    for text in recipe.assignments:
        if text.startswith("sweep.metric="):
            return Problem(message, file="command line", excerpt=text, hint=hint)
    source = yaml.parse(recipe.text, str(recipe.path))
    line = source.line_of(("sweep", "metric"))
    return Problem(message, file=str(recipe.path), line=line, excerpt=source.excerpt(line), hint=hint)
