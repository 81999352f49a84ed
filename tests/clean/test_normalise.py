"""Normalisation is harmless: done twice it changes nothing more, and no visible character is lost."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.clean.normalise import Normalise, normalise_text
from bessemer.clean.texts import Texts

PIECES = st.sampled_from(
    [*"ab \t\n\r\v\f\x00\x1c\x85\x93\xad\ufeff\u200b\u2028\u2029\u3000\u0301é가각", "e\u0301", "\n\n\n"]
)
TEXT = st.one_of(st.text(), st.lists(PIECES).map("".join))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\n    indented\n", "plain\n\n    indented"),
        ("a\r\nb\rc\x0cd\u2028e", "a\nb\nc\nd\ne"),
        ("a  \n\t\n \n\n\nb", "a\n\nb"),
        ("e\u0301 \u1100\u1161", "é 가"),
        ("nul\x00 esc\x1b bom\ufeff soft\xadhyphen", "nul esc bom softhyphen"),
        ("\x93quoted\x94 \x80 5\x85", "“quoted” € 5…"),
        ("â€™ stays as it is", "â€™ stays as it is"),
        ("👩\u200d🔬 می\u200cخواهم ក\u200bខ", "👩\u200d🔬 می\u200cخواهم ក\u200bខ"),
        ("a\u2029b", "a\n\nb"),
        (" \n\r\n \t", ""),
    ],
)
def test_a_text_becomes(text: str, expected: str) -> None:
    assert normalise_text(text) == expected


@settings(deadline=None)
@given(TEXT, st.integers(0, 3))
def test_it_is_idempotent_and_its_result_is_tidy(text: str, blank: int) -> None:
    once = normalise_text(text, blank)
    assert normalise_text(once, blank) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\n" * (blank + 2) not in once
    assert all(line == line.rstrip() for line in once.split("\n"))
    assert not set(once) & {chr(code) for code in (*range(9), *range(11, 32), *range(0x7F, 0xA0))}


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="\xad")))
def test_no_visible_character_is_lost(text: str) -> None:
    assert normalise_text(text) == unicodedata.normalize("NFC", text)


def test_texts_that_stay_the_same_are_not_changed() -> None:
    assert Normalise().apply(Texts(["one\n\ntwo", ""])).texts is None
