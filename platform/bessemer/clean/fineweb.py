"""`fineweb_quality@datatrove`: removes lists, menus and boilerplate.

These are the rules of FineWeb (Penedo et al., 2024), counted like datatrove's `fineweb_quality_filter.py`, on lines
that are not blank. For languages other than English, the limits are those of FineWeb-2 (Penedo et al., 2025). FineWeb-2
measured two of them for each language, raised the limit on repeated lines, and dropped the limit on short lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from bessemer.clean.characters import SPACE, TERMINAL
from bessemer.clean.repetition import duplicates
from bessemer.clean.rules import AUTO, UNLIMITED, Automatic, Findings, Limit, Rule
from bessemer.clean.spans import any_in
from bessemer.clean.texts import Texts, ratio


class FineWebQuality(Rule):
    """Removes texts of short, unfinished or repeated lines (`fineweb_quality@datatrove`)."""

    automatic: ClassVar[Mapping[str, Automatic]] = {
        "min_terminal_line_ratio": Automatic(0.12, "terminal_line"),
        "max_short_line_ratio": Automatic(0.67, UNLIMITED),
        "max_duplicate_line_character_ratio": Automatic(0.01, 0.1),
        "max_newlines_per_word": Automatic(0.3, "newlines_per_word"),
    }
    reads_language: ClassVar[bool] = True

    source: ClassVar[str] = "FineWeb (Penedo et al., 2024), FineWeb-2 (2025)"

    rule: Literal["fineweb_quality"] = "fineweb_quality"
    min_lines: int | None = 1
    """Minimum number of lines that are not blank; 1 removes empty texts."""
    min_terminal_line_ratio: Limit = AUTO
    """Minimum share of lines that end with a sentence-ending mark; 0.12 in English."""
    max_short_line_ratio: Limit = AUTO
    """Maximum share of lines of at most `short_line_characters`; 0.67 in English, no limit in other languages."""
    short_line_characters: int = 30
    """Maximum length of a short line, in characters."""
    max_duplicate_line_character_ratio: Limit = AUTO
    """Maximum share of characters in lines that are copies of an earlier line; 0.01 in English, 0.1 in other
    languages."""
    max_newlines_per_word: Limit = AUTO
    """Maximum number of line feeds per word; 0.3 in English."""

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
                "newlines_per_word": ratio(texts.num_newlines, texts.num_words),
            }
        )
