"""Properties of lines: their end marks, the phrases in them, and their numbers of words and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from bessemer.clean.characters import PUNCTUATION, SENTENCE_END, TERMINAL
from bessemer.clean.languages import ENGLISH, base
from bessemer.clean.spans import Array, Spans, any_in
from bessemer.clean.texts import Texts

_CLOSING = "”’»“」』"
"""Closing quotation marks (`“` closes in German)."""


def stripped(texts: Texts, lines: Spans, first: Array, after: Array) -> Spans:
    """The lines without the white space around them, given each one's range of chunks."""
    some = np.flatnonzero(after > first)
    starts, ends = lines.starts.copy(), lines.starts.copy()
    starts[some], ends[some] = texts.chunks.starts[first[some]], texts.chunks.ends[after[some] - 1]
    return Spans(starts, ends, lines.owners)


def strings_of(texts: Texts, spans: Spans) -> list[str]:
    joined = texts.joined
    return [joined[start:end] for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)]


def ends_a_sentence(texts: Texts, lines: Spans) -> Array:
    """Mask of the lines that end with `.`, `?`, `!` or a straight quote, but not with three full stops.

    In languages other than English, every mark that ends a sentence and every closing quotation mark counts.
    """
    codes, last = texts.codes, lines.ends - 1
    dots = np.all([codes[np.maximum(last - back, 0)] == ord(".") for back in range(3)], axis=0)
    found: Array = np.any([codes[last] == ord(mark) for mark in ".?!\"'"], axis=0)
    foreign = np.array([language is not None and base(language) != ENGLISH for language in texts.languages], bool)
    if foreign.any():
        closing = (texts.flags[last] & TERMINAL != 0) | np.any([codes[last] == ord(mark) for mark in _CLOSING], axis=0)
        found |= closing & foreign[lines.owners]
    found &= (lines.lengths > 0) & ~(dots & (lines.lengths > 2))
    return found


class PhraseSearch:
    """Finds lines with a phrase, ignoring case. Searches for ASCII phrases in bytes, which is ten times as fast."""

    def __init__(self, texts: Texts, lines: Spans) -> None:
        self._texts, self._lines = texts, lines
        self._bytes = np.minimum(texts.codes, 0x7F).astype(np.uint8).tobytes().lower()

    def __call__(self, *phrases: str) -> Array:
        """Mask of the lines with at least one of the phrases. Phrases must not contain line ends."""
        places = np.array([place for phrase in phrases for place in self._places(phrase)], np.int64)
        found = np.zeros(len(self._lines.starts), bool)
        found[np.searchsorted(self._lines.starts, places, "right") - 1] = True
        return found

    def _places(self, phrase: str) -> Iterator[int]:
        if not phrase.isascii():
            yield from (match.start() for match in re.finditer(re.escape(phrase), self._texts.joined, re.IGNORECASE))
            return
        wanted = phrase.lower().encode()
        place = self._bytes.find(wanted)
        while place >= 0:
            yield place
            place = self._bytes.find(wanted, place + len(wanted))


def count_words_and_sentences(texts: Texts, lines: Spans) -> tuple[Array, Array]:
    """(number of words, number of sentences) of each line, counted like spaCy's sentencizer: a sentence starts at the
    first word after `.`, `?` or `!` that is not punctuation."""
    words = texts.words
    first, after = np.searchsorted(words.starts, lines.starts), np.searchsorted(words.starts, lines.ends)
    flags = texts.flags[words.starts]
    stop = (flags & SENTENCE_END != 0) & (words.lengths == 1)
    stops_before = np.zeros(len(stop) + 1, np.int64)
    np.cumsum(stop, out=stops_before[1:])

    marks = np.flatnonzero(flags & PUNCTUATION != 0)
    is_plain = np.ones(len(stop), bool)
    is_plain[marks] = any_in(~texts.flags & PUNCTUATION, words.select(marks))
    plain = np.flatnonzero(is_plain & ~stop)
    since = np.zeros(len(plain), np.int64)
    since[1:] = plain[:-1]
    opens = np.searchsorted(plain, first)
    some = opens < np.searchsorted(plain, after)
    since[opens[some]] = first[some]
    begins = np.zeros(len(plain) + 1, np.int64)
    np.cumsum(stops_before[plain] > stops_before[since], out=begins[1:])
    return after - first, begins[np.searchsorted(plain, after)] - begins[opens] + (after > first)
