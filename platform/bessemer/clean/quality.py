"""`gopher_quality@datatrove`: texts that do not look like prose.

The rules are those of Gopher (Rae et al., 2021, section A.1.1) as datatrove's `gopher_quality_filter.py` counts them:
words are spaCy's (see `words`), punctuation is a word where words are a denominator, but not where they are counted or
their length is averaged; stop words are counted once each, as written.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from bessemer.clean.characters import LETTER, SYMBOL
from bessemer.clean.rules import Findings, Rule
from bessemer.clean.spans import Array, Spans, any_in, hash_of
from bessemer.clean.texts import Texts, ratio


class GopherQuality(Rule):
    """Removes texts with too few words, odd words, or too many symbols (`gopher_quality@datatrove`)."""

    rule: Literal["gopher_quality"] = "gopher_quality"
    min_words: int | None = 50
    """Fewest words that are not punctuation alone."""
    max_words: int | None = 100_000
    """Most words that are not punctuation alone."""
    min_mean_word_length: float | None = 3
    """Smallest mean length of those words, in characters."""
    max_mean_word_length: float | None = 10
    """Largest mean length of those words, in characters."""
    max_hashes_per_word: float | None = 0.1
    """Most `#` a word."""
    max_ellipses_per_word: float | None = 0.1
    """Most `...` and `…` a word."""
    max_bullet_line_ratio: float | None = 0.9
    """Largest share of lines that begin with `•` or `-`."""
    max_ellipsis_line_ratio: float | None = 0.3
    """Largest share of lines that end with `...` or `…`."""
    min_alphabetic_word_ratio: float | None = 0.8
    """Smallest share of words, punctuation among them, that have a letter."""
    min_stop_words: int | None = 2
    """Fewest different words of `stop_words`."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """The words that any prose has; case matters."""

    def apply(self, texts: Texts) -> Findings:
        words = texts.words
        num_words = texts.num_words
        proper = words.select(any_in(~texts.flags & SYMBOL, words))
        alphabetic = any_in(texts.flags & LETTER, words)
        hashes, ellipses = (
            np.array([sum(map(text.count, marks)) for text in texts.strings], np.float64)
            for marks in (("#",), ("...", "…"))
        )
        lines = texts.split_lines
        bullets, trailing_off = _bullets(texts, lines)
        num_proper = texts.counts(proper)
        return Findings(
            {
                "words": num_proper,
                "mean_word_length": ratio(texts.totals(proper, proper.lengths), num_proper),
                "hashes_per_word": ratio(hashes, num_words),
                "ellipses_per_word": ratio(ellipses, num_words),
                "bullet_line_ratio": ratio(texts.counts(lines, bullets), texts.counts(lines)),
                "ellipsis_line_ratio": ratio(texts.counts(lines, trailing_off), texts.counts(lines)),
                "alphabetic_word_ratio": ratio(texts.counts(words, alphabetic), num_words),
                "stop_words": self._stop_words(texts),
            }
        )

    def _stop_words(self, texts: Texts) -> Array:
        found = np.zeros((len(set(self.stop_words)), len(texts)), bool)
        for row, word in zip(found, set(self.stop_words), strict=True):
            row[texts.words.owners[texts.word_hashes == np.uint64(hash_of(word))]] = True
        number: Array = found.sum(axis=0, dtype=np.float64)
        return number


def _bullets(texts: Texts, lines: Spans) -> tuple[Array, Array]:
    """Which lines begin with a bullet, and which end with an ellipsis, but for white space."""
    chunks, codes = texts.chunks, texts.codes
    first, after = texts.chunk_range(lines)
    some = np.flatnonzero(after > first)
    head, last = codes[chunks.starts[first[some]]], chunks.ends[after[some] - 1] - 1
    bullet, ellipsis = np.zeros((2, len(first)), bool)
    bullet[some] = (head == ord("-")) | (head == ord("•"))
    dots = np.all([codes[last - back] == ord(".") for back in range(3)], axis=0)
    ellipsis[some] = (codes[last] == ord("…")) | dots
    return bullet, ellipsis
