"""Exact copies: the differences that the normal form ignores, and the copy that stays."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.dedup.exact import exact_hashes, first_copies, normal_form

CONTROL = "".join(map(chr, range(33)))


@settings(deadline=None)
@given(st.text())
def test_the_normal_form_is_that_of_plain_python(text: str) -> None:
    spaced = unicodedata.normalize("NFC", text).translate({ord(c): " " for c in CONTROL})
    assert normal_form(text).decode() == " ".join(word for word in spaced.split(" ") if word)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("a  b\n\nc ", " a b c", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("a b", "ab", False),
        ("Page 3", "Page 4", False),
        ("Word", "word", False),
        ("", " \n", True),
    ],
)
def test_what_makes_a_copy(first: str, second: str, same: bool) -> None:
    hashes = exact_hashes([first, second])
    assert (hashes[0] == hashes[1]).all() == same


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 3)), max_size=20))
def test_the_preferred_copy_stays(rows: list[tuple[int, int, int]]) -> None:
    table = np.array(rows, np.uint64).reshape(-1, 3)
    hashes = np.stack((np.zeros(len(rows), np.uint64), table[:, 0]), axis=1)
    kept = first_copies(hashes, (table[:, 1], table[:, 2], np.arange(len(rows), dtype=np.uint64)))
    for row, (text, *_) in enumerate(rows):
        copies = [(first, second, other) for other, (also, first, second) in enumerate(rows) if also == text]
        assert kept[row] == min(copies)[2]
