"""A limit that is `auto` is the language's own, a number holds everywhere, and an unknown language has none."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.clean.fineweb import FineWebQuality
from bessemer.clean.quality import GopherQuality
from bessemer.clean.repetition import GopherRepetition
from bessemer.clean.rules import AUTO, Rule
from bessemer.clean.settings import RULES
from bessemer.clean.texts import Texts

LANGUAGES = ["en", None, "en-GB", "de", "zh-Hant", "gu"]


@pytest.mark.parametrize(
    ("rule", "bound", "expected"),
    [
        (GopherQuality(), "max_mean_word_length", [10, 10, 10, 15, 5, np.nan]),
        (GopherQuality(max_mean_word_length=12), "max_mean_word_length", [12] * 6),
        (GopherQuality(), "max_hashes_per_word", [0.1] * 6),
        (GopherRepetition(), "max_top_2_gram_character_ratio", [0.2, 0.2, 0.2, 0.169, 0.256, np.nan]),
        (GopherRepetition(), "max_duplicate_10_gram_character_ratio", [0.1, 0.1, 0.1, 0.098, 0.127, np.nan]),
        (FineWebQuality(), "max_short_line_ratio", [0.67, 0.67, 0.67, np.nan, np.nan, np.nan]),
        (FineWebQuality(), "max_duplicate_line_character_ratio", [0.01, 0.01, 0.01, 0.1, 0.1, np.nan]),
        (FineWebQuality(), "min_terminal_line_ratio", [0.12, 0.12, 0.12, 0, 0.106, np.nan]),
    ],
)
def test_a_threshold_is_that_of_the_language(rule: Rule, bound: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(rule.thresholds(bound, LANGUAGES), expected)


def test_a_text_is_judged_by_its_language() -> None:
    text = "Bundesverfassungsgericht und Rechtsschutzversicherung der " * 3  # 13.5 characters per word
    texts = Texts([text] * 3, ["en", "de", "gu"])
    found = GopherQuality().apply(texts)
    fewest = GopherQuality(max_words=None).broken(found.signals, texts.languages)[0]
    assert (fewest.signal, fewest.texts.tolist()) == ("words", [True] * 3)
    assert found.signals["mean_word_length"][0] == 13.5
    maximum = GopherQuality(max_words=None, min_mean_word_length=None).broken(found.signals, texts.languages)[1]
    assert (maximum.signal, maximum.texts.tolist()) == ("mean_word_length", [True, False, False])


def test_every_automatic_limit_is_a_field_that_is_auto() -> None:
    for rule in RULES.values():
        for bound in rule.automatic:
            assert rule.model_fields[bound].default == AUTO
        if rule.automatic:
            assert rule.reads_language


def test_the_plan_names_what_a_language_lacks() -> None:
    assert GopherRepetition().abstentions({"en", "de", "zh"}) == []
    (sentence,) = FineWebQuality(max_newlines_per_word=0.5).abstentions({"en", "gu", "br"})
    assert sentence.startswith("`fineweb_quality` has no limits for `br`, `gu` and skips `min_terminal")
    assert "newlines" not in sentence
    every = dict.fromkeys(FineWebQuality.automatic, 0.5)
    assert FineWebQuality(**every).abstentions({"gu"}) == []  # type: ignore[arg-type]
