"""Limits and stop words are known for English and 73 other languages, under any of their codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bessemer.clean.language import LANGUAGES
from bessemer.clean.languages import base, facts, is_listed, spoken
from bessemer.clean.normalise import normalise_text
from bessemer.clean.quality import GopherQuality
from bessemer.clean.texts import Texts


@pytest.fixture(scope="module")
def vectors() -> Any:
    return json.loads(Path(__file__).with_name("fineweb2_vectors.json").read_text(encoding="utf-8"))


def test_the_table_holds_what_fineweb2_measured() -> None:
    german = facts("de")
    assert german is not None
    assert german.limits["max_word_length"] == 15
    assert german.limits["duplicate_10_gram"] == 0.098
    assert german.stop_words[:3] == ("der", "und", "die")
    listed = {language for language in LANGUAGES if facts(language)}
    assert len(listed) == 76  # three more are written as another
    assert facts("en") is None
    assert is_listed("en")


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        ("de-AT", "de"),
        ("DE", "de"),
        ("deu_Latn", "de"),
        ("zh-Hant-TW", "zh"),
        ("cmn", "zh"),
        ("eng", "en"),
        ("xx", "xx"),
    ],
)
def test_a_language_is_known_under_its_codes(stated: str, code: str) -> None:
    assert base(stated) == code
    assert facts(stated) == facts(code)


def test_a_language_without_a_list_is_not_another() -> None:
    assert not is_listed("gu")
    assert facts("gu") is None
    assert facts("yue") == facts("zh")
    assert facts("als") is None  # Alemannic German, not Tosk Albanian


def test_many_languages_are_counted() -> None:
    assert spoken({"de", "ar"}) == "`ar`, `de`"
    assert spoken(set("abcdefghijk")) == "`a`, `b`, `c`, `d`, `e`, `f`, `g`, `h` and 3 others"


def test_words_are_counted_as_datatrove_counts_them(dataset: Callable[[str], Path], vectors: Any) -> None:
    """Of the Universal Declaration of Human Rights; `make_fineweb2_vectors.py` asks datatrove's tokenizers."""
    folder, compared = dataset("langid") / "udhr2", 0
    for language, theirs in vectors.items():
        if "words" not in theirs or language == "am":  # old Amharic has marks instead of blanks; theirs keeps it whole
            continue
        texts = Texts([(folder / theirs["file"]).read_text("utf-8")], [language])
        mine = GopherQuality().apply(texts).signals
        tolerance = 0.08 if language == "zh" else 0.05  # ICU's dictionary is not jieba's
        for name in ("words", "mean_word_length", "alphabetic_word_ratio"):
            assert mine[name][0] == pytest.approx(theirs[name], rel=tolerance), (language, name)
        compared += 1
    assert compared > 40


def test_prose_in_every_listed_language_passes(dataset: Callable[[str], Path], vectors: Any) -> None:
    folder = dataset("langid") / "udhr2"
    assert len(vectors) > 65
    for language, theirs in vectors.items():
        text = normalise_text((folder / theirs["file"]).read_text("utf-8"))
        rule = GopherQuality()
        found = rule.apply(Texts([text], [language])).signals
        assert found["stop_words"][0] >= 2, language
        assert not [limit.signal for limit in rule.broken(found, [language]) if limit.texts[0]], language
