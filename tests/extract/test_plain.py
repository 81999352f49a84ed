"""plain: text files keep their text and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.artifacts.ledger import Removed
from bessemer.extract.plain import plain_text, strip_gutenberg, well_formed


def test_line_ends_and_control_characters() -> None:
    assert plain_text("\ufeffa\r\nb\rc\x00\n\td" + "e" * 100) == "a\nb\nc\n\td" + "e" * 100
    assert plain_text("page one\n\fpage two") == "page one\npage two"


@pytest.mark.parametrize(("text", "rule"), [("", "empty_text"), (" \n", "empty_text"), ("\x00\x01ab" * 9, "binary")])
def test_what_is_no_text(text: str, rule: str) -> None:
    with pytest.raises(Removed) as refused:
        plain_text(text)
    assert refused.value.rule == rule


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_every_string_becomes_one_that_utf8_can_hold(text: str) -> None:
    assert well_formed(text).encode().decode() == well_formed(text)
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert well_formed(text) == text


@given(st.text(alphabet="ab \n\r\f\x00\x1e", min_size=1))
def test_doing_it_twice_changes_nothing(text: str) -> None:
    try:
        once = plain_text("x" * 500 + text)
    except Removed:
        return
    assert plain_text(once) == once


def test_gutenberg_licence_is_cut_from_real_books(dataset: Callable[[str], Path]) -> None:
    books = dataset("books_raw")
    names = [
        "Pride-and-Prejudice_1342/1342-0.txt",
        "Pride-and-Prejudice_1342/1342.txt",
        "The-Adventures-of-Sherlock-Holmes_1661/1661.txt",
    ]
    for name in names:
        book = (books / name).read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
        cut = strip_gutenberg(book)
        assert 0.95 * len(book) < len(cut) < len(book) - 15_000
        assert "gutenberg.org" not in cut
        assert strip_gutenberg(cut) == cut
    assert strip_gutenberg("any other text") == "any other text"
