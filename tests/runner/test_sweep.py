"""Search spaces are checked before anything runs, and the stages that trials share are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts.store import Store
from bessemer.errors import RecipeError, UsageError
from bessemer.runner.plan import load_recipe, make_plan
from bessemer.runner.sweep import SweepResult, Trial, check_space, run_sweep, shared_stages

RECIPE = """
name: toy
stages:
  ingest: {paths: [documents]}
  dedup:
  tokenizer: {vocab_size: 512}
  tokenize:
  pretrain: {num_tokens: 4096}
sweep:
  param_space: SPACE
"""


@pytest.fixture
def load(tmp_path: Path) -> Any:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.txt").write_text("Here is a document.")

    def with_space(space: str) -> Any:
        (tmp_path / "recipe.yaml").write_text(RECIPE.replace("SPACE", space))
        return load_recipe(tmp_path / "recipe.yaml", [])

    return with_space


@pytest.mark.parametrize(
    ("space", "shared"),
    [
        ("{pretrain.learning_rate: {uniform: [0.1, 1]}}", ["ingest", "dedup", "tokenizer", "tokenize"]),
        ("{dedup.threshold: {choice: [0.7, 0.9]}}", ["ingest"]),
        ("{tokenizer.vocab_size: {choice: [512, 600]}}", ["ingest", "dedup"]),
        ("{seed: {choice: [1, 2]}}", []),
    ],
)
def test_stages_that_no_searched_field_can_change_are_shared(load: Any, space: str, shared: list[str]) -> None:
    recipe = load(space)
    plan = make_plan(recipe, Store(recipe.path.parent))
    assert [stage.name for stage in shared_stages(recipe, plan, recipe.settings.sweep)] == shared


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{pretrain.learning_rate: {unifrom: [0.1, 1]}}", "should be one of"),
        ("{pretrain.learning_rate: {uniform: [0.1]}}", "takes 2 numbers"),
        ("{pretrain.learning_rate: {choice: []}}", "takes a list of values"),
        ("{pretrain.learning_rte: {choice: [1]}}", "did you mean `learning_rate`?"),
        ("{dedup.threshold: {choice: [7]}}", "`dedup.threshold`"),
    ],
)
def test_a_bad_search_space_is_a_recipe_problem(load: Any, space: str, message: str) -> None:
    recipe = load(space)
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        check_space(recipe, recipe.settings.sweep)


def test_a_recipe_without_a_space_says_how_to_give_one(load: Any) -> None:
    with pytest.raises(UsageError) as caught:
        run_sweep(load("{}"), lambda names: None, print, command="")  # type: ignore[arg-type, return-value]
    assert "param_space" in caught.value.hint


@pytest.mark.parametrize(("mode", "best"), [("min", "b"), ("max", "a")])
def test_the_best_trial_is_first_and_those_without_a_metric_are_last(mode: str, best: str) -> None:
    trials = [Trial("a", {}, "finished", 2.0), Trial("none", {}, "failed", None), Trial("b", {}, "finished", 1.0)]
    ranked = SweepResult("loss", mode, {}, trials).ranked()
    assert ranked[0].name == best
    assert ranked[-1].name == "none"
