"""Protects: the plan warns about shares that later stages change, and about splits that stay empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.artifacts.store import Store
from bessemer.runner.plan import load_recipe, make_plan, plan_warnings

SOURCES = """
name: two
num_workers: 0
stages:
  one: {stage: ingest, paths: [one], split: {validation: 0, test: 0}}
  two: {stage: ingest, paths: [two], split: {validation: 0, test: 0}}
"""
CLEAN_AFTER = """
  mix: {from: [one, two], shares: {one: 1, two: 1}}
  dedup:
  clean: {rules: [normalise]}
"""
CLEAN_BEFORE = """
  one_clean: {stage: clean, from: one, rules: [normalise]}
  two_clean: {stage: clean, from: two, rules: [normalise]}
  mix: {from: [one_clean, two_clean], shares: {one_clean: 1, two_clean: 1}}
  dedup:
"""


def warnings(folder: Path, recipe: str) -> dict[str, list[str]]:
    (folder / "recipe.yaml").write_text(recipe)
    loaded = load_recipe(folder / "recipe.yaml", [])
    store = Store(folder / "runs")
    return plan_warnings(loaded, make_plan(loaded, store), store)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(12):
            (tmp_path / name / f"chapter-{number}.txt").write_text(f"Chapter {number} of book {name}.\n")
    return tmp_path


def test_cleaning_after_a_mixture_changes_its_shares(folder: Path) -> None:
    found = warnings(folder, SOURCES + CLEAN_AFTER)
    assert found.keys() == {"clean"}
    assert found["clean"][0].startswith("removes documents after `mix`, so the shares of `mix` do not hold")


def test_cleaning_before_a_mixture_is_right(folder: Path) -> None:
    assert warnings(folder, SOURCES + CLEAN_BEFORE) == {}


def test_a_split_without_a_file_is_named_with_the_share_that_would_hold_one(folder: Path) -> None:
    recipe = "name: x\nnum_workers: 0\nstages:\n  ingest: {paths: [one], split: {validation: 0.05, test: 0.1}}\n"
    (advice,) = warnings(folder, recipe)["ingest"]
    assert advice == "none of the 12 files falls into the split `validation`; `split.validation=0.07` would hold one"
    assert warnings(folder, recipe.replace("0.05", "0.07")) == {}


def test_files_of_many_records_give_no_false_warning(folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert warnings(folder, "name: x\nnum_workers: 0\nstages:\n  ingest: {paths: [rows.jsonl]}\n") == {}
