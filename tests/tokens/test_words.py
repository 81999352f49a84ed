"""Splitting long texts: no piece is too long, no text is lost, and a split changes no word."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.tokens import words
from bessemer.tokens.words import PATTERN, SELF_CONTAINED_PATTERNS, TRAINING_PATTERN, split_pieces

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab1 .,'\n\r\té日\u0301s"), min_size=1, max_size=80))
def test_pieces_join_to_the_text_and_are_bounded(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "PIECE_LENGTH", 8)
        patch.setattr(words, "_SEARCHED", 6)
        pieces = split_pieces(text)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= 8 for piece in pieces)


@pytest.mark.parametrize("pattern", [*sorted(SELF_CONTAINED_PATTERNS), GPT2_PATTERN])
@settings(deadline=None)
@given(st.lists(st.sampled_from(["word", "l'été", " ", "  ", "\n", "\r\n", "12", ".", "...", "'s", "日本", "हिन्दी"])))
def test_a_safe_cut_is_the_end_of_a_word_in_every_known_pattern(pattern: str, parts: list[str]) -> None:
    text = "".join(parts)
    ends = {match.end() for match in regex.finditer(pattern, text)}
    assert {match.start() for match in words._SAFE_CUT.finditer(text)} <= ends | {0}


@settings(deadline=None)
@given(st.text(max_size=60))
def test_words_join_to_the_text_and_are_cut_alone_as_in_it(text: str) -> None:
    for pattern in (PATTERN, TRAINING_PATTERN):
        found = regex.findall(pattern, text)
        assert "".join(found) == text
    for pattern in SELF_CONTAINED_PATTERNS:
        words_found = regex.findall(pattern, text)
        assert [regex.findall(pattern, word) for word in words_found] == [[word] for word in words_found]
