"""The list of rules as a recipe writes it: names, names with settings, and every mistake with its place."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bessemer.clean.c4 import C4
from bessemer.clean.function import CustomRule
from bessemer.clean.language import Language
from bessemer.clean.normalise import Normalise
from bessemer.clean.presets import FINEWEB, PRESETS
from bessemer.clean.quality import GopherQuality
from bessemer.clean.settings import RULES, CleanSettings
from bessemer.clean.texts import Texts


def test_a_name_is_the_rule_with_its_defaults() -> None:
    settings = CleanSettings.model_validate({"rules": ["normalise", {"c4": {"min_sentences": 3}}, {"pii": None}]})
    assert settings.rules is not None
    assert settings.rules[:2] == (Normalise(), C4(min_sentences=3))
    assert [rule.rule for rule in settings.rules] == ["normalise", "c4", "pii"]


def test_resolved_settings_read_back_the_same() -> None:
    settings = CleanSettings()
    assert settings.chosen_rules == FINEWEB
    assert CleanSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_a_preset_is_chosen_and_overridden_rule_by_rule() -> None:
    assert CleanSettings(preset="code").chosen_rules == PRESETS["code"]
    override = {"language": {"languages": ["de"]}, "gopher_quality": {"min_words": 3}, "c4": None, "pii": {}}
    settings = CleanSettings.model_validate({"override": override})
    labels = [rule.label for rule in settings.chosen_rules]
    assert labels == ["normalise", "language", "gopher_repetition", "gopher_quality", "fineweb_quality", "pii"]
    assert settings.chosen_rules[1] == Language(languages=("de",))
    assert settings.chosen_rules[3] == GopherQuality(min_words=3)
    books = CleanSettings.model_validate({"preset": "books", "override": {"gopher_quality": {"min_words": 3}}})
    changed = books.chosen_rules[3]
    assert isinstance(changed, GopherQuality)
    assert (changed.min_words, changed.max_words, changed.min_alphabetic_word_ratio) == (3, None, 0.65)
    assert CleanSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("settings", "place", "message"),
    [
        ({"preset": "book"}, "preset", "'books'"),
        ({"override": {"c5": {}}}, "override", "should name rules of the preset, not `c5` (valid names: `c4`"),
        ({"preset": "code", "override": {"c4": None}}, "override", "not `c4`"),
        ({"override": {"c4": {"min_sentence": 1}}}, "override", "did you mean `min_sentences`?"),
        (
            {"override": {"language": {"languages": "all"}}},
            "override",
            "`languages` of `language` should be a list",
        ),
        ({"override": {"c4": {"min_sentences": "x"}}}, "override", "`min_sentences` of `c4` should be a valid integer"),
        ({"override": {"language": {"languages": ["xx"]}}}, "override", "languages that can be identified"),
        ({"override": {"c4": 3}}, "override", "valid dictionary"),
        ({"rules": {"c4": {"min_sentences": 3}}}, "rules", "`override` changes settings of a preset's rules"),
        ({"rules": ["pii"], "preset": "web"}, "rules", "together with `preset`"),
        ({"rules": ["pii"], "override": {"c4": None}}, "rules", "together with `preset`"),
    ],
)
def test_a_mistake_in_a_preset_is_found(settings: Any, place: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CleanSettings.model_validate(settings)
    (error,) = caught.value.errors()
    assert error["loc"][0] == place
    assert message in error["msg"]


def test_the_wanted_languages_are_those_of_the_rule_language() -> None:
    assert CleanSettings().wanted_languages == {"en"}
    some = CleanSettings.model_validate({"rules": [{"language": {"languages": ["de", "fr"]}}, "c4"]})
    assert some.wanted_languages == {"de", "fr"}
    for rules in (["c4"], [{"language": {"languages": None}}, "c4", "gopher_quality", "pii"]):
        every = CleanSettings.model_validate({"rules": rules})
        assert every.wanted_languages is None
        (sentence,) = every.abstentions()
        assert sentence.startswith("documents in any language stay, but `c4`")
        assert "pii" not in sentence
    assert CleanSettings().abstentions() == CleanSettings(preset="code").abstentions() == []
    assert len(some.abstentions()) == 1


@pytest.mark.parametrize(
    ("rules", "place", "message"),
    [
        (["normalise", "goher_quality"], ("rules", 1), "did you mean `gopher_quality`?"),
        ([{"c4": {"min_sentence": 3}}], ("rules", 0), "did you mean `min_sentences`?"),
        ([{"c4": {"min_sentences": "x"}}], ("rules", 0, "c4", "min_sentences"), "valid integer"),
        ([{"c4": 3}], ("rules", 0), "the name of a rule"),
        ([{"c4": {}, "pii": {}}], ("rules", 0), "the name of a rule"),
        ([3], ("rules", 0), "the name of a rule"),
        (["pii", "pii"], ("rules",), "`pii` is there twice"),
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
        if rule is not CustomRule:
            limits = {name[4:] for name in rule.model_fields if name[:4] in ("min_", "max_") and name not in exempt}
            assert limits <= set(rule().apply(Texts([])).signals)
