"""The table of characters agrees with Python, and with the sets that datatrove and spaCy use."""

from __future__ import annotations

import unicodedata

from bessemer.clean.characters import LETTER, LINE_END, LOWER, PUNCTUATION, SENTENCE_END, SPACE, TERMINAL, UPPER, flags

ALL = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def characters_with(bit: int) -> set[str]:
    return {chr(code) for code in (flags() & bit).nonzero()[0].tolist()}


def test_white_space_line_ends_and_letters_are_pythons() -> None:
    assert characters_with(SPACE) == {c for c in ALL if c.isspace()}
    assert characters_with(LINE_END) == {c for c in ALL if len(f"a{c}b".splitlines()) == 2}
    assert characters_with(LETTER) == {c for c in ALL if c.isalpha()}
    assert characters_with(PUNCTUATION) == {c for c in ALL if unicodedata.category(c)[0] == "P"}
    assert characters_with(UPPER | LOWER) <= characters_with(LETTER)


def test_ends_of_sentences_end_lines_too() -> None:
    assert characters_with(SENTENCE_END) < characters_with(TERMINAL)
    assert {".", "!", "?", "。", "؟", "।"} <= characters_with(SENTENCE_END)
    assert not {",", ";", '"', "…"} & characters_with(TERMINAL)
