"""The plan of a sweep finds every mistake, and the stages that trials share, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts.store import Store
from bessemer.errors import RecipeError, UsageError
from bessemer.runner.plan import load_recipe
from bessemer.runner.sweep_plan import SweepPlan, plan_sweep

RECIPE = """
name: toy
stages:
  ingest: {paths: [documents]}
  dedup: {splits: [train]}
  tokenizer: {vocab_size: 512}
  tokenize:
  pretrain: {num_tokens: 4096}
  again: {stage: pretrain, from: pretrain, num_tokens: 4096}
sweep:
  metric: METRIC
  param_space: SPACE
"""


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.txt").write_text("Here is a document.")

    def with_space(space: str, metric: str = "validation/loss", *assignments: str) -> SweepPlan:
        (tmp_path / "recipe.yaml").write_text(RECIPE.replace("SPACE", space).replace("METRIC", metric))
        recipe = load_recipe(tmp_path / "recipe.yaml", assignments)
        return plan_sweep(recipe, Store(tmp_path / "runs"))

    return with_space


def problems(plan: Any, *arguments: str) -> str:
    with pytest.raises(RecipeError) as caught:
        plan(*arguments)
    return caught.value.message


@pytest.mark.parametrize(
    ("space", "shared"),
    [
        ("{pretrain.learning_rate: {uniform: [0.1, 1]}}", ["ingest", "dedup", "tokenizer", "tokenize"]),
        ("{dedup.threshold: {choice: [0.7, 0.9]}}", ["ingest"]),
        ("{tokenizer.vocab_size: {choice: [512, 600]}}", ["ingest", "dedup"]),
        ("{seed: {choice: [1, 2]}}", []),
    ],
)
def test_stages_that_no_searched_field_can_change_are_shared(plan: Any, space: str, shared: list[str]) -> None:
    assert [stage.name for stage in plan(space, "validation/bits_per_byte").shared] == shared


def test_the_last_stage_that_records_the_metric_counts(plan: Any) -> None:
    space = "{pretrain.learning_rate: {uniform: [0.1, 1]}}"
    assert plan(space).measured_by == "again"
    assert plan(space, "data/tokens", "sweep.param_space={seed: {choice: [1, 2]}}").measured_by == "tokenize"


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{pretrain.learning_rte: {choice: [1]}}", "did you mean `learning_rate`?"),
        ("{pretrian.learning_rate: {choice: [1]}}", "the recipe has no stage `pretrian`"),
        ("{dedup.threshold: {choice: [7]}}", "`dedup.threshold`"),
        ("{dedup.threshold: {grid: [0.7, 0.8, 7]}}", "not `7`"),
        ("{dedup.threshold: {uniform: [0.7, 9]}}", "not `9`"),
        ("{ingest.paths: {choice: [[documents], [nowhere]]}}", "nowhere` does not exist"),
    ],
)
def test_each_value_of_a_space_is_tried(plan: Any, space: str, message: str) -> None:
    assert message in problems(plan, space)


def test_a_path_in_a_search_space_is_relative_to_the_recipe(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.txt").write_text("Here is another.")
    monkeypatch.chdir("/")
    plan("{ingest.paths: {grid: [[documents], [documents, more]]}}", "data/tokens")


def test_trials_are_measured_on_the_same_text(plan: Any) -> None:
    """Otherwise the trial with the easiest held-out documents would be the best."""
    said = problems(plan, "{ingest.split.test: {choice: [0.1, 0.2]}}", "validation/bits_per_byte")
    assert "trials that differ in `ingest` have different text in the split `validation`" in said
    assert "recipe.yaml:" in said
    said = problems(plan, "{dedup.threshold: {choice: [0.7, 0.9]}}", "validation/loss")
    assert "different tokenizers" in said
    assert "search by bits per byte: `validation/bits_per_byte`" in said


@pytest.mark.parametrize(
    ("space", "metric", "message"),
    [
        ("{seed: {grid: [1, 2]}}", "validation/los", "did you mean `validation/loss`?"),
        ("{seed: {grid: [1, 2]}}", "loss", "no stage of the recipe records the metric `loss`"),
        ("{pretrain.learning_rate: {grid: [1, 2]}}", "data/tokens", "`tokenize`, which no searched field can change"),
        (
            "{pretrain.objective: {grid: [causal, masked]}, again.objective: {grid: [causal, masked]}}",
            "validation/bits_per_byte",
            "",
        ),
        (
            "{again.objective: {grid: [masked, causal]}, pretrain.objective: {choice: [masked, causal]}}",
            "validation/pseudo_loss",
            "",
        ),
    ],
)
def test_a_metric_that_no_stage_records_is_refused(plan: Any, space: str, metric: str, message: str) -> None:
    if message:
        assert message in problems(plan, space, metric)
    else:
        plan(space, metric)


def test_the_place_of_a_wrong_metric_is_named(plan: Any, tmp_path: Path) -> None:
    space = "{seed: {grid: [1, 2]}}"
    assert f"{tmp_path / 'recipe.yaml'}:11: no stage" in problems(plan, space, "los")
    assert "command line: no stage" in problems(plan, space, "validation/loss", "sweep.metric=los")


def test_a_recipe_without_a_space_says_how_to_give_one(plan: Any) -> None:
    with pytest.raises(UsageError) as caught:
        plan("{}")
    assert "param_space" in caught.value.hint


def test_the_number_of_trials_is_said(plan: Any) -> None:
    said = plan("{seed: {grid: [1, 2, 3, 4]}}", "validation/loss", "sweep.num_samples=2").describe()
    assert said.startswith("8 trials (4 combinations of the grid, drawn 2 times)")
