"""The JSON schema of recipes: it accepts every shipped recipe, and rejects the mistakes that a single value shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from bessemer import stages
from bessemer.recipe.recipe import Recipe
from bessemer.recipe.schema import recipe_schema

PIPELINES = Path(__file__).parents[2] / "pipelines"
RECIPES = [path for path in sorted(PIPELINES.rglob("*.yaml")) if "stages:" in path.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = recipe_schema(Recipe, {kind: stages.load(kind).config for kind in stages.kinds()})
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.relative_to(PIPELINES).as_posix())
def test_a_shipped_recipe_is_accepted(path: Path, validator: Draft202012Validator) -> None:
    validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "settings",
    [
        {"clean": {"rules": ["normalise", {"c4": {"min_sentences": 3}}, {"pii": None}, {"rule": "language"}]}},
        {"clean": None},
        {"crawl": {"seeds": ["http://a.test/"], "max_page_bytes": "8MiB"}},
        {"evaluate": {"tasks": {"piqa": None, "arc_easy": {"num_fewshot": 5}, "mine": {"file": "mine.yaml"}}}},
        {"small": {"stage": "pretrain", "model": {"size": "nano"}, "from": "tokenize"}},
        {"evaluate": {"from": ["small", "large"]}},
        {"pretrain": {"objective": {"causal": 0.5, "fill_in_the_middle": 0.5}, "num_workers": [1, 8]}},
        {"reinforce": {"rewards": [{"kind": "exact_match"}], "grpo": {}}},
        {"pretrain": {"stage": "finetune"}},
    ],
)
def test_a_form_that_recipes_use_is_accepted(settings: dict[str, Any], validator: Draft202012Validator) -> None:
    validator.validate({"name": "books", "stages": settings})


@pytest.mark.parametrize(
    "recipe",
    [
        {"name": "books"},
        {"stages": {"clean": None}},
        {"name": "Books", "stages": {"clean": None}},
        {"name": "books", "sead": 1, "stages": {"clean": None}},
        {"name": "books", "stages": {}},
        {"name": "books", "stages": {"small": None}},
        {"name": "books", "stages": {"ingest": None}},
        {"name": "books", "stages": {"small": {"stage": "pretrian"}}},
        {"name": "books", "stages": {"dedup": {"threshold": 1.5}}},
        {"name": "books", "stages": {"dedup": {"treshold": 0.5}}},
        {"name": "books", "stages": {"clean": {"rules": ["c5"]}}},
        {"name": "books", "stages": {"clean": {"rules": [{"c4": {"min_sentence": 3}}]}}},
        {"name": "books", "stages": {"small": {"stage": "dedup", "model": {}}}},
        {"name": "books", "stages": {"pretrain": {"stage": "dedup", "model": {}}}},
        {"name": "books", "stages": {"pretrain": {"model": {"size": "huge"}}}},
    ],
)
def test_a_mistake_is_rejected(recipe: dict[str, Any], validator: Draft202012Validator) -> None:
    assert not validator.is_valid(recipe)
