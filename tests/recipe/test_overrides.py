"""`field=value` reaches any value of a recipe, also inside lists."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.recipe import overrides


def recipe() -> dict[str, Any]:
    return {"seed": 1, "stages": {"clean": {"rules": ["normalise", "c4", {"pii": {"mask": True}}]}, "train": None}}


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("seed=2", ["seed"], 2),
        ("train.learning_rate=1e-3", ["stages", "train", "learning_rate"], 0.001),
        ("clean.rules=[]", ["stages", "clean", "rules"], []),
        ("clean.rules.0=pii", ["stages", "clean", "rules", 0], "pii"),
        ("clean.rules.c4.min_sentences=3", ["stages", "clean", "rules", 1], {"c4": {"min_sentences": 3}}),
        ("clean.rules.pii.mask=false", ["stages", "clean", "rules", 2, "pii", "mask"], False),
        ("cluster.address=http://h:1", ["cluster", "address"], "http://h:1"),
    ],
)
def test_an_assignment_sets_one_value(assignment: str, path: list[Any], value: Any) -> None:
    raw = recipe()
    _, problems = overrides.apply(raw, [assignment], ["clean", "train"])
    assert problems == []
    place: Any = raw
    for key in path:
        place = place[key]
    assert place == value


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed", "`seed` is not of the form `field=value`"),
        ("clean.rules.7=x", "is not an entry of its list, which has 3"),
        ("clean.rules.fineweb.x=1", "is not an entry of its list, which has 3"),
        ("seed.x=1", "`seed` is a value, so `x` cannot be set in it"),
    ],
)
def test_what_cannot_be_set_is_a_problem(assignment: str, message: str) -> None:
    _, (problem,) = overrides.apply(recipe(), [assignment], ["clean", "train"])
    assert message in problem.message


@pytest.mark.parametrize(
    "value",
    [
        0.00463335123, 1e-05, 1e30, float("inf"), 3, True, None, "a", "1e-3", "true", "", "a: b", "null", "[x]", "#1",
        ["a", 1, None], {"c4": {"min_sentences": 3}}, "ümlaut \"quoted\"",
    ],
)  # fmt: skip
def test_an_assignment_is_read_back_with_every_digit(value: Any) -> None:
    text = overrides.assignment("train.x", value)
    raw = recipe()
    assert overrides.apply(raw, [text], ["train"])[1] == []
    found = raw["stages"]["train"]["x"]
    assert found == value
    assert isinstance(found, str) == isinstance(value, str)


def test_an_entry_of_a_list_is_found_by_its_rule() -> None:
    raw = {"stages": {"clean": {"rules": [{"rule": "c4", "min_words": 1}]}}}
    overrides.apply(raw, ["clean.rules.c4.min_words=3"], ["clean"])
    assert raw["stages"]["clean"]["rules"] == [{"rule": "c4", "min_words": 3}]


def test_changes_come_after_the_assignments_and_keep_their_type() -> None:
    raw = recipe()
    origins, _ = overrides.apply(raw, ["seed=2"], [], changes={"seed": 3, "name": "1"}, changes_from="r.yaml")
    assert (raw["seed"], raw["name"]) == (3, "1")
    assert origins["name",] == overrides.Origin("r.yaml", 'name="1"')


def test_strings_remember_that_they_are_the_command_lines() -> None:
    """So that a relative path in them is relative to the working folder."""
    raw = recipe()
    overrides.apply(raw, ["train.paths=[a, {b: c}]"], ["train"])
    paths = raw["stages"]["train"]["paths"]
    assert isinstance(paths[0], overrides.FromCommandLine)
    assert isinstance(paths[1]["b"], overrides.FromCommandLine)
