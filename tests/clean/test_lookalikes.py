"""Lookalikes become ASCII, one character for one, so that a match has the same place in the original."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bessemer.clean.lookalikes import BOUNDARY, ascii_lookalikes, number_text
from bessemer.clean.texts import Texts


def test_digits_dashes_blanks_and_signs() -> None:
    assert ascii_lookalikes("４１５‑５５５\u202f٠١٢\u00a0۳४ ＋（a＠b．c）") == "415-555 012 34 +(a@b.c)"


def test_letters_of_other_scripts_are_boundaries_and_latin_letters_stay() -> None:
    text, digits = number_text(Texts(["Jörg ắ 电1ไ２и3"]))
    assert text == f"Jörg ắ {BOUNDARY}1{BOUNDARY}2{BOUNDARY}3\n"
    assert [text[place] for place in digits] == ["1", "2", "3"]


def test_the_long_vowel_mark_is_a_dash_between_digits_only() -> None:
    assert number_text(Texts(["03ー12メータル5ー"]))[0] == f"03-12{BOUNDARY * 4}5{BOUNDARY}\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=4))
def test_places_stay(strings: list[str]) -> None:
    texts = Texts(strings)
    text, digits = number_text(texts)
    assert len(text) == len(texts.joined)
    assert digits.tolist() == [place for place, character in enumerate(text) if character in "0123456789"]
    assert text.count("\n") == texts.joined.count("\n")


def test_few_and_many_changes_give_the_same_text() -> None:
    """Few changes are joined from pieces, many are decoded at once."""
    changes = "12–5　٣\u200b电"
    few, many = number_text(Texts([changes + "a" * 2000]))[0], number_text(Texts([changes]))[0]
    assert few == many[:-1] + "a" * 2000 + "\n"
    assert many == f"12-5 3 {BOUNDARY}\n"
