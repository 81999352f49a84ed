"""A search space is checked with the recipe, and the number of trials is that of Ray Tune."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bessemer.recipe.sweep import SweepSettings


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"unifrom": [0.1, 1]}, "should be one of"),
        ({"uniform": [0.1, 1], "choice": [1]}, "should be one of"),
        ({}, "should be one of"),
        ({"uniform": [0.1]}, "should be 2 numbers: `uniform: [low, high]`"),
        ({"uniform": ["a", "b"]}, "should be 2 numbers"),
        ({"uniform": [False, True]}, "should be 2 numbers"),
        ({"uniform": [0.1, float("inf")]}, "should be 2 numbers"),
        ({"quniform": [0.1, 1]}, "should be 3 numbers"),
        ({"uniform": [0.1, 0.01]}, "0.1 is not less than 0.01"),
        ({"randint": [5, 5]}, "5 is not less than 5"),
        ({"randint": [1, 2.5]}, "should be whole numbers"),
        ({"loguniform": [0, 1]}, "should begin above 0"),
        ({"lograndint": [-2, 8]}, "should begin above 0"),
        ({"quniform": [0, 1, 0]}, "should have a step above 0"),
        ({"quniform": [0, 1, 3]}, "should have a step above 0"),
        ({"choice": []}, "should be a list of values"),
        ({"grid": 3}, "should be a list of values"),
    ],
)
def test_a_space_that_tune_would_refuse_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SweepSettings(param_space={"pretrain.learning_rate": space})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "space",
    [
        {"uniform": [-1, 0]}, {"loguniform": [1e-4, 1e-2]}, {"quniform": [0, 1, 0.25]}, {"qloguniform": [1, 8, 1]},
        {"randint": [0, 2]}, {"lograndint": [1, 9]}, {"qrandint": [0, 8, 2]}, {"choice": [None]}, {"grid": [[1], [2]]},
    ],
)  # fmt: skip
def test_a_space_that_tune_has_is_kept(space: dict[str, Any]) -> None:
    assert SweepSettings(param_space={"x.y": space}).param_space == {"x.y": space}


@pytest.mark.parametrize(
    ("spaces", "num_samples", "trials"),
    [
        ([{"grid": [1, 2, 3, 4]}], 2, 8),
        ([{"grid": [1, 2]}, {"grid": [1, 2, 3]}], None, 6),
        ([{"grid": [1, 2]}, {"choice": [1, 2, 3]}], None, 16),
        ([{"uniform": [0, 1]}], None, 8),
        ([{"uniform": [0, 1]}], 5, 5),
    ],
)
def test_every_draw_runs_each_combination_of_the_grid(spaces: list[Any], num_samples: int | None, trials: int) -> None:
    space = {f"stage.{number}": space for number, space in enumerate(spaces)}
    assert SweepSettings(num_samples=num_samples, param_space=space).num_trials == trials
