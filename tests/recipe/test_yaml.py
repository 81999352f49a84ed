"""YAML 1.2: numbers are numbers, words are words, and every value knows its line."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.recipe import yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3E5", 3e5),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("0o17", 15),
        ("017", 17),
        ("0xff", 255),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-11-20", "2026-11-20"),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("'1'", "1"),
        ('"yes"', "yes"),
        ("[1, a, 2.0]", [1, "a", 2.0]),
        ("{a: 1e3}", {"a": 1000.0}),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_scalars_are_read_by_the_core_schema_of_yaml_1_2(text: str, value: Any) -> None:
    source = yaml.parse(f"x: {text}")
    assert source.problems == []
    found = source.value["x"]
    assert found == value
    assert type(found) is type(value)


def test_every_value_knows_its_line() -> None:
    source = yaml.parse("a: 1\nb:\n  c:\n    - x\n    - y: 2\n")
    assert source.line_of(("a",)) == 1
    assert source.line_of(("b", "c")) == 3
    assert source.line_of(("b", "c", 1, "y")) == 5
    assert source.line_of(("b", "nowhere")) == 2


def test_a_duplicate_key_is_a_problem_with_both_lines() -> None:
    (problem,) = yaml.parse("a: 1\nb: 2\na: 3\n", "recipe.yaml").problems
    assert (problem.line, problem.message) == (3, "`a` is set twice")
    assert "line 1" in problem.hint


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\tx: 1", "a: *missing", "a: &x [*x]"])
def test_broken_yaml_is_a_problem_not_a_crash(text: str) -> None:
    assert yaml.parse(text).problems


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u0085\u2028\u2029\ufeff")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz_", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_what_is_dumped_is_read_back(value: Any) -> None:
    assert yaml.parse(yaml.dump({"value": value})).value == {"value": value}
