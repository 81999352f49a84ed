"""`gopher_quality@datatrove`: removes texts that do not look like prose.

The rules are those of Gopher (Rae et al., 2021, section A.1.1), counted like datatrove's `gopher_quality_filter.py`.
Words are spaCy's (see `words`). Punctuation counts as a word in denominators, but not in the number of words or their
mean length. Each stop word counts once, and case matters. Other languages than English have their own word splitting,
and stop words and limits from FineWeb-2 (see `languages`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from pydantic import field_validator

from bessemer.clean.characters import LETTER, SYMBOL
from bessemer.clean.language import check_languages
from bessemer.clean.languages import ENGLISH, base, facts, spoken
from bessemer.clean.rules import AUTO, Automatic, Findings, Limit, Rule
from bessemer.clean.spans import Array, Spans, any_in, hash_of
from bessemer.clean.texts import Texts, ratio

ENGLISH_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Gopher's list."""


class GopherQuality(Rule):
    """Removes texts with too few words, odd words, or too many symbols (`gopher_quality@datatrove`)."""

    automatic: ClassVar[Mapping[str, Automatic]] = {
        "min_mean_word_length": Automatic(3, "min_word_length"),
        "max_mean_word_length": Automatic(10, "max_word_length"),
        "min_alphabetic_word_ratio": Automatic(0.8, "alphabetic_words"),
    }
    reads_language: ClassVar[bool] = True

    source: ClassVar[str] = "Gopher (Rae et al., 2021, A.1.1), FineWeb-2 (2025)"

    rule: Literal["gopher_quality"] = "gopher_quality"
    min_words: int | None = 50
    """Minimum number of words, without those that are only punctuation."""
    max_words: int | None = 100_000
    """Maximum number of words, without those that are only punctuation."""
    min_mean_word_length: Limit = AUTO
    """Minimum mean length of these words, in characters; 3 in English."""
    max_mean_word_length: Limit = AUTO
    """Maximum mean length of these words, in characters; 10 in English."""
    max_hashes_per_word: float | None = 0.1
    """Maximum number of `#` per word."""
    max_ellipses_per_word: float | None = 0.1
    """Maximum number of `...` and `…` per word."""
    max_bullet_line_ratio: float | None = 0.9
    """Maximum share of lines that begin with `•` or `-`."""
    max_ellipsis_line_ratio: float | None = 0.3
    """Maximum share of lines that end with `...` or `…`."""
    min_alphabetic_word_ratio: Limit = AUTO
    """Minimum share of words with a letter; punctuation counts as words here; 0.8 in English."""
    min_stop_words: int | None = 2
    """Minimum number of different stop words of the text's language. Languages without a list have no limit."""
    stop_words: Literal["auto"] | tuple[str, ...] | Mapping[str, tuple[str, ...]] = AUTO
    """Words that occur in all prose; case matters. `auto` has lists for English and the languages of FineWeb-2. A
    mapping such as `{gu: [છે, અને]}` sets the lists of some languages. A plain list applies to all languages."""

    @field_validator("stop_words")
    @classmethod
    def _lists(cls, words: str | tuple[str, ...] | Mapping[str, tuple[str, ...]]) -> object:
        if isinstance(words, Mapping):
            check_languages(words)
        if not all(words.values() if isinstance(words, Mapping) else [words]):
            raise ValueError("should have at least one word per list; `min_stop_words: null` turns the limit off")
        return words

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

    def abstentions(self, languages: Collection[str]) -> list[str]:
        without = [language for language in languages if not self.list_of(language)]
        found = super().abstentions(languages)
        if without and self.min_stop_words is not None:
            found.append(
                f"`{self.label}` has no stop words for {spoken(without)} and skips `min_stop_words` there; "
                f"add a list with `stop_words: {{{min(without)}: [...]}}`"
            )
        return found

    def list_of(self, language: str | None) -> tuple[str, ...]:
        """The stop words of a language; empty for a language without one."""
        if isinstance(self.stop_words, tuple):
            return self.stop_words
        code = ENGLISH if language is None else base(language)
        if isinstance(self.stop_words, Mapping) and code in self.stop_words:
            return self.stop_words[code]
        known = facts(code)
        return ENGLISH_STOP_WORDS if code == ENGLISH else known.stop_words if known else ()

    def _stop_words(self, texts: Texts) -> Array:
        """Number of different stop words of each text; NaN for a text whose language has no list."""
        found = np.full(len(texts), np.nan)
        for language in dict.fromkeys(texts.languages):
            own = np.array([other == language for other in texts.languages], bool)
            words = self.list_of(language)
            if words:
                found[own] = _count_different(texts, own, words)[own]
        return found


def _count_different(texts: Texts, own: Array, words: tuple[str, ...]) -> Array:
    """The number of `words` that occur in each text of the mask `own`."""
    hashes, owners = texts.word_hashes, texts.words.owners
    if not own.all():
        chosen = own[owners]
        hashes, owners = hashes[chosen], owners[chosen]
    keys, names = _sorted_hashes(words)
    places = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)
    hits = keys[places] == hashes
    pairs = np.unique(owners[hits] * len(words) + names[places[hits]])
    return np.bincount(pairs // len(words), minlength=len(texts))


@cache
def _sorted_hashes(words: tuple[str, ...]) -> tuple[Array, Array]:
    """(sorted hashes of the words, index of the word of each hash). A word has one hash per kind of apostrophe."""
    named = {hash_of(form): name for name, word in enumerate(words) for form in (word, word.replace("'", "’"))}
    keys = sorted(named)
    return np.array(keys, np.uint64), np.array([named[key] for key in keys])


def _bullets(texts: Texts, lines: Spans) -> tuple[Array, Array]:
    """(mask of lines that begin with a bullet, mask of lines that end with an ellipsis), ignoring white space."""
    chunks, codes = texts.chunks, texts.codes
    first, after = texts.chunk_range(lines)
    some = np.flatnonzero(after > first)
    head, last = codes[chunks.starts[first[some]]], chunks.ends[after[some] - 1] - 1
    bullet, ellipsis = np.zeros((2, len(first)), bool)
    bullet[some] = (head == ord("-")) | (head == ord("•"))
    dots = np.all([codes[last - back] == ord(".") for back in range(3)], axis=0)
    ellipsis[some] = (codes[last] == ord("…")) | dots
    return bullet, ellipsis
