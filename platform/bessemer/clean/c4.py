"""`c4@datatrove`: keeps the lines that look like sentences, and the pages that have enough of them.

The rules of C4 (Raffel et al., 2020) as datatrove's `c4_filters.py` has them: 3 words a line, 5 sentences a page, `'`
ends a sentence too, and words are counted before citations are taken out. FineWeb ran it with
`terminal_punctuation: false`. Sentences are counted as spaCy's sentencizer does.

Lines are dropped, and white space around lines; a page is dropped for too few sentences, for `lorem ipsum`, and for a
`{` (so pages with program code go: set `max_curly_bracket_lines: null` to keep them). One difference: blanks that a
citation leaves at the ends of a line go with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import numpy as np

from bessemer.clean.characters import PUNCTUATION, SENTENCE_END
from bessemer.clean.quality import any_in
from bessemer.clean.rules import Findings, Rule
from bessemer.clean.spans import Array, Spans
from bessemer.clean.texts import Texts

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_EVIDENCE_CHARACTERS = 80


class C4(Rule):
    """Drops lines that are no sentences, and pages with few sentences left (`c4@datatrove`)."""

    rule: Literal["c4"] = "c4"
    max_word_length: int | None = 1000
    """A line with a longer word is dropped."""
    citations: bool = False
    """Whether marks like `[12]`, `[edit]` and `[citation needed]` stay."""
    terminal_punctuation: bool = True
    """Whether a line must end with `.`, `?`, `!`, `"` or `'`, and not with `...`."""
    min_words_per_line: int | None = 3
    """A line with fewer words, between white space, is dropped."""
    javascript_phrases: tuple[str, ...] = ("javascript",)
    """A line with one of these, in any case, is dropped."""
    policy_phrases: tuple[str, ...] = (
        "terms of use",
        "privacy policy",
        "cookie policy",
        "uses cookies",
        "use of cookies",
        "use cookies",
    )
    """A line with one of these, in any case, is dropped."""
    max_lorem_ipsum_lines: int | None = 0
    """Most lines with `lorem ipsum`, among those that are not dropped."""
    max_curly_bracket_lines: int | None = 0
    """Most lines with `{`, among those that are not dropped for anything but a policy phrase."""
    min_sentences: int | None = 5
    """Fewest sentences in the lines that are left."""

    def apply(self, texts: Texts) -> Findings:
        before, lines = texts, texts.split_lines
        first, after = texts.chunk_range(lines)
        long_word = self._long_words(texts, first)
        lines = _stripped(texts, lines, first, after)
        if not self.citations and _CITATION.search(texts.joined):
            texts, lines = _without_citations(texts, lines)

        tally = _Tally(texts, lines)
        tally.drop("long_word_lines", long_word)
        if self.terminal_punctuation:
            tally.drop("unfinished_lines", ~_finished(texts.codes, lines))
        if self.min_words_per_line is not None:
            tally.drop("short_lines", after - first < self.min_words_per_line)
        lines_with = _PhraseSearch(texts, lines)
        lorem = tally.alive & lines_with("lorem ipsum")
        tally.drop("javascript_lines", lines_with(*self.javascript_phrases))
        curly = tally.alive & lines_with("{")
        tally.drop("policy_lines", lines_with(*self.policy_phrases))

        kept = lines.select(tally.alive)
        signals = {
            "lorem_ipsum_lines": texts.counts(lines, lorem),
            "curly_bracket_lines": texts.counts(lines, curly),
            "sentences": texts.totals(kept, count_sentences(texts, kept)),
        }
        result = texts.of_lines(_stripped(texts, kept, *texts.chunk_range(kept)))
        evidence = tally.evidence() | _first_lines(texts, lines, curly) | _first_lines(texts, lines, lorem)
        changed = result.strings != before.strings
        return Findings(signals | tally.dropped, result if changed else None, evidence)

    def _long_words(self, texts: Texts, first: Array) -> Array:
        found = np.zeros(len(first), bool)
        if self.max_word_length is not None:
            long = np.flatnonzero(texts.chunks.lengths > self.max_word_length)
            found[np.searchsorted(first, long, "right") - 1] = True
        return found


class _Tally:
    """Which lines are still there, and how many went for which reason; a line goes for the first."""

    def __init__(self, texts: Texts, lines: Spans) -> None:
        self.texts, self.lines = texts, lines
        self.alive = np.ones(len(lines.starts), bool)
        self.dropped: dict[str, Array] = {}

    def drop(self, reason: str, chosen: Array) -> None:
        self.dropped[reason] = self.texts.counts(self.lines, self.alive & chosen)
        self.alive &= ~chosen

    def evidence(self) -> dict[int, str]:
        total = self.texts.counts(self.lines, ~self.alive).astype(int)
        return {int(index): f"{total[index]} lines dropped" for index in np.flatnonzero(total)}


def _stripped(texts: Texts, lines: Spans, first: Array, after: Array) -> Spans:
    """The lines without the white space around them."""
    some = np.flatnonzero(after > first)
    starts, ends = lines.starts.copy(), lines.starts.copy()
    starts[some], ends[some] = texts.chunks.starts[first[some]], texts.chunks.ends[after[some] - 1]
    return Spans(starts, ends, lines.owners)


def _without_citations(texts: Texts, lines: Spans) -> tuple[Texts, Spans]:
    """The same lines, citations taken out of each."""
    pieces: list[list[str]] = [[] for _ in range(len(texts))]
    for start, end, owner in zip(*(column.tolist() for column in lines), strict=True):
        line = texts.joined[start:end]
        pieces[owner].append(_CITATION.sub("", line) if "[" in line else line)
    texts = Texts(["\n".join(mine) for mine in pieces])
    has_lines = np.array([bool(mine) for mine in pieces], bool)
    return texts, texts.lines.select(has_lines[texts.lines.owners])


def _finished(codes: Array, lines: Spans) -> Array:
    """Which lines end as a sentence does."""
    last = lines.ends - 1
    dots = np.all([codes[last - back] == ord(".") for back in range(3)], axis=0)
    finished: Array = np.any([codes[last] == ord(mark) for mark in ".?!\"'"], axis=0)
    finished &= (lines.lengths > 0) & ~(dots & (lines.lengths > 2))
    return finished


class _PhraseSearch:
    """Finds lines with a phrase, in any case. ASCII phrases are looked for in bytes, which is ten times as quick."""

    def __init__(self, texts: Texts, lines: Spans) -> None:
        self._texts, self._lines = texts, lines
        self._bytes = np.minimum(texts.codes, 0x7F).astype(np.uint8).tobytes().lower()

    def __call__(self, *phrases: str) -> Array:
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


def _first_lines(texts: Texts, lines: Spans, chosen: Array) -> dict[int, str]:
    """For each text that has one, the first of the chosen lines, cut short."""
    rows = lines.select(chosen)
    owners, index = np.unique(rows.owners, return_index=True)
    begins, ends = rows.starts[index].tolist(), rows.ends[index].tolist()
    cut = [texts.joined[a : min(b, a + _EVIDENCE_CHARACTERS)] for a, b in zip(begins, ends, strict=True)]
    return dict(zip(owners.tolist(), cut, strict=True))


def count_sentences(texts: Texts, lines: Spans) -> Array:
    """Sentences of each line: a new one begins at the first word after `.`, `?`, `!` that is no punctuation."""
    index, line = texts.words_of(lines)
    words = texts.words.select(index)
    stops = (words.lengths == 1) & (texts.flags[words.starts] & SENTENCE_END != 0)
    stops_so_far = np.cumsum(stops)
    before_line = np.zeros(len(lines.starts), np.int64)
    opens = np.flatnonzero(np.diff(line, prepend=-1))
    before_line[line[opens]] = stops_so_far[opens] - stops[opens]

    plain = np.flatnonzero(~stops & any_in(~texts.flags & PUNCTUATION, words))
    before = before_line[line[plain]]
    again = line[plain[1:]] == line[plain[:-1]]
    before[1:][again] = stops_so_far[plain[:-1]][again]
    begins = stops_so_far[plain] > before
    return np.bincount(line[plain], begins, len(before_line)) + (np.bincount(line, minlength=len(before_line)) > 0)
