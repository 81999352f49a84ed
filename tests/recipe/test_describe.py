"""Descriptions of settings name types, limits and defaults, and every setting of every stage has one."""

from __future__ import annotations

import pytest
from pydantic import Field

from bessemer import stages
from bessemer.recipe.describe import describe_settings
from bessemer.recipe.recipe import Recipe
from bessemer.recipe.settings import RecipeFile, Settings, Size, execution


class Inner(Settings):
    """A group of settings."""

    depth: int = Field(2, ge=1)
    """Levels below the root."""


class Outer(Settings):
    """Settings of many types."""

    path: RecipeFile
    """Path of the file."""
    rate: float | None = Field(None, gt=0, le=1)
    """Share of
    the rows."""
    size: Size = Field(1024)
    """Size of a block."""
    names: tuple[str, ...] = ("a",)
    """Names of columns."""
    weights: dict[str, float] = Field({})
    """Weight of each name."""
    inner: Inner = Inner()
    """A group."""
    port: int = execution(80)
    """Port of the server."""


def test_types_limits_and_defaults_are_named() -> None:
    found = {one.path: (one.type, one.default, one.changes_result) for one in describe_settings(Outer)}
    assert found == {
        "path": ("path", None, True),
        "rate": ("number more than 0 and at most 1 or null", "null", True),
        "size": ("integer more than 0 or size such as `8MiB`", "1024", True),
        "names": ("list of text", '["a"]', True),
        "weights": ("mapping of name to number", "{}", True),
        "inner": ("settings", "{}", True),
        "inner.depth": ("integer at least 1", "2", True),
        "port": ("integer", "80", False),
    }


def test_a_description_is_one_line() -> None:
    found = {one.path: one.description for one in describe_settings(Outer)}
    assert found["rate"] == "Share of the rows."


def test_settings_of_a_kind_of_rule_are_below_its_name() -> None:
    found = {one.path: one for one in describe_settings(stages.load("clean").config)}
    assert found["rules.c4.min_sentences"].alternative
    assert "rules.c4.rule" not in found
    assert not found["preset"].alternative


@pytest.mark.parametrize("kind", [*stages.kinds(), "recipe"])
def test_every_setting_is_described(kind: str) -> None:
    model = Recipe if kind == "recipe" else stages.load(kind).config
    assert [one.path for one in describe_settings(model) if not one.description] == []
