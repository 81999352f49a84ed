"""The list of rules as a recipe writes it: names, names with settings, and every mistake with its place."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bessemer.clean.c4 import C4
from bessemer.clean.normalise import Normalise
from bessemer.clean.settings import FINEWEB, RULES, CleanSettings
from bessemer.clean.texts import Texts


def test_a_name_is_the_rule_with_its_defaults() -> None:
    settings = CleanSettings.model_validate({"rules": ["normalise", {"c4": {"min_sentences": 3}}, {"pii": None}]})
    assert settings.rules[:2] == (Normalise(), C4(min_sentences=3))
    assert [rule.rule for rule in settings.rules] == ["normalise", "c4", "pii"]


def test_resolved_settings_read_back_the_same() -> None:
    settings = CleanSettings()
    assert settings.rules == FINEWEB
    assert CleanSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("rules", "place", "message"),
    [
        (["normalise", "goher_quality"], ("rules", 1), "did you mean `gopher_quality`?"),
        ([{"c4": {"min_sentence": 3}}], ("rules", 0), "did you mean `min_sentences`?"),
        ([{"c4": {"min_sentences": "x"}}], ("rules", 0, "c4", "min_sentences"), "valid integer"),
        ([{"c4": 3}], ("rules", 0), "the name of a rule"),
        ([{"c4": {}, "pii": {}}], ("rules", 0), "the name of a rule"),
        ([3], ("rules", 0), "the name of a rule"),
        (["pii", "pii"], ("rules",), "`pii` stands there twice"),
    ],
)
def test_a_mistake_has_its_place_and_a_suggestion(rules: Any, place: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CleanSettings.model_validate({"rules": rules})
    (error,) = caught.value.errors()
    assert error["loc"] == place
    assert message in error["msg"]


def test_every_limit_bounds_a_signal() -> None:
    """`whatif` relies on it: `min_x` and `max_x` are the limits of the signal `x`."""
    exempt = {"max_blank_lines", "max_word_length", "min_words_per_line", "min", "max"}
    for rule in RULES.values():
        if rule.__name__ != "Function":
            limits = {name[4:] for name in rule.model_fields if name[:4] in ("min_", "max_") and name not in exempt}
            assert limits <= set(rule().apply(Texts([])).signals)
