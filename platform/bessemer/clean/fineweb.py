"""`fineweb_quality@datatrove`: lists, menus and boilerplate.

The rules of FineWeb (Penedo et al., 2024) as datatrove's `fineweb_quality_filter.py` counts them, on the lines that
are not blank.
"""

from __future__ import annotations

from typing import Literal

from bessemer.clean.characters import SPACE, TERMINAL
from bessemer.clean.repetition import duplicates
from bessemer.clean.rules import Findings, Rule
from bessemer.clean.spans import any_in
from bessemer.clean.texts import Texts, ratio


class FineWebQuality(Rule):
    """Removes texts of short, unfinished or repeated lines (`fineweb_quality@datatrove`)."""

    rule: Literal["fineweb_quality"] = "fineweb_quality"
    min_lines: int | None = 1
    """Fewest lines that are not blank; 1 removes empty texts."""
    min_terminal_line_ratio: float | None = 0.12
    """Smallest share of lines that end with a punctuation mark that ends sentences."""
    max_short_line_ratio: float | None = 0.67
    """Largest share of lines of at most `short_line_characters`."""
    short_line_characters: int = 30
    """Up to this length a line is short."""
    max_duplicate_line_character_ratio: float | None = 0.01
    """Largest share of characters in lines that are copies of an earlier one; FineWeb-2 takes 0.1."""
    max_newlines_per_word: float | None = 0.3
    """Most line feeds a word."""

    def apply(self, texts: Texts) -> Findings:
        lines = texts.lines.select(texts.lines.lengths > 0)
        lines = lines.select(any_in(~texts.flags & SPACE, lines))
        num_lines = texts.counts(lines)
        newlines = texts.counts(texts.lines) - 1
        return Findings(
            {
                "lines": num_lines,
                "terminal_line_ratio": ratio(
                    texts.counts(lines, texts.flags[lines.ends - 1] & TERMINAL != 0), num_lines
                ),
                "short_line_ratio": ratio(texts.counts(lines, lines.lengths <= self.short_line_characters), num_lines),
                "duplicate_line_character_ratio": ratio(duplicates(texts, lines)[1], texts.lengths - newlines),
                "newlines_per_word": ratio(newlines, texts.num_words),
            }
        )
