"""The settings of a sweep: the search space, the metric and the scheduler, in Ray Tune's terms.

A search space is checked with the recipe, so a plan reports an empty interval. The values of each field are checked by
`runner/sweep_plan.py`, which needs the stages.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from bessemer.recipe.settings import Settings, execution

NUMBERS = {
    "uniform": ("low", "high"),
    "loguniform": ("low", "high"),
    "quniform": ("low", "high", "step"),
    "qloguniform": ("low", "high", "step"),
    "randint": ("low", "high"),
    "lograndint": ("low", "high"),
    "qrandint": ("low", "high", "step"),
}
"""Ray Tune's intervals by name, with their arguments. `choice` and `grid` take a list of values."""
LISTS = ("choice", "grid")


def _checked_space(space: dict[str, Any]) -> dict[str, Any]:
    known = ", ".join(f"`{name}`" for name in (*LISTS, *NUMBERS))
    if len(space) != 1 or next(iter(space)) not in (*LISTS, *NUMBERS):
        raise ValueError(f"should be one of {known}, with its arguments as a list")
    ((name, arguments),) = space.items()
    if name in LISTS:
        if not isinstance(arguments, list) or not arguments:
            raise ValueError(f"should be a list of values: `{name}: [1, 2]`")
        return space
    wanted = NUMBERS[name]
    if not isinstance(arguments, list) or len(arguments) != len(wanted) or not all(map(_is_number, arguments)):
        raise ValueError(f"should be {len(wanted)} numbers: `{name}: [{', '.join(wanted)}]`")
    low, high, *step = arguments
    if not low < high:
        raise ValueError(f"should be an interval from low to high, but {low} is not less than {high}")
    if "log" in name and low <= 0:
        raise ValueError(f"should begin above 0 for a logarithmic scale, but `low` is {low}")
    if "randint" in name and not all(isinstance(number, int) for number in arguments):
        raise ValueError(f"should be whole numbers, not {arguments}")
    if step and not 0 < step[0] <= high - low:
        raise ValueError(f"should have a step above 0 that fits between {low} and {high}, not {step[0]}")
    return space


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


SearchSpace = Annotated[dict[str, Any], AfterValidator(_checked_space)]
"""One of Ray Tune's search spaces by name: `{loguniform: [1e-4, 1e-2]}`, `{choice: [a, b]}`."""


class ScheduleSettings(Settings):
    """ASHA: trials that are behind stop early (Li et al., 2018)."""

    grace_period: int = execution(1, ge=1)
    """Reports of the metric that every trial makes before it can be stopped."""
    reduction_factor: int = execution(3, ge=2)
    """One trial in this many continues at each rung."""


class SweepSettings(Settings):
    """A search over fields of the recipe, as Ray Tune does it."""

    metric: str = execution("validation/bits_per_byte")
    """The metric to optimise, as a stage records it. If several stages record it, the last one counts."""
    mode: Literal["min", "max"] = execution("min")
    """Whether to minimise or maximise the metric."""
    num_samples: int | None = execution(None, ge=1)
    """Number of draws. Each draw runs every combination of the `grid` fields. If unset, 8, or 1 if every field is a
    `grid`."""
    max_concurrent_trials: int = execution(1, ge=1)
    """Number of trials that run at the same time, if the cluster has room for them."""
    scheduler: ScheduleSettings | None = execution(ScheduleSettings())
    """Early stopping of trials. `null` lets every trial finish."""
    param_space: dict[str, SearchSpace] = execution({})
    """For each field `stage.field`: one of `choice: [..]`, `grid: [..]`, `uniform: [low, high]`, `loguniform: [low,
    high]`, ..."""

    @property
    def grid_size(self) -> int:
        """Number of combinations of the `grid` fields."""
        return math.prod(len(space["grid"]) for space in self.param_space.values() if "grid" in space)

    @property
    def num_draws(self) -> int:
        only_grids = all("grid" in space for space in self.param_space.values())
        return self.num_samples or (1 if only_grids else 8)

    @property
    def num_trials(self) -> int:
        return self.num_draws * self.grid_size
