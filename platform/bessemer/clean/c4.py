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
from itertools import pairwise
from typing import Literal

import numpy as np

from bessemer.clean.lines import PhraseSearch, count_words_and_sentences, ends_a_sentence, strings_of, stripped
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
        lines = texts.split_lines
        first, after = texts.chunk_range(lines)
        spans = stripped(texts, lines, first, after)
        strings, facts = strings_of(texts, spans), self._look_at(texts, spans)
        if not self.citations:
            self._take_citations_out(texts, lines, strings, facts)

        tally = _Tally(texts, lines)
        tally.drop("long_word_lines", self._long_words(texts, first))
        if self.terminal_punctuation:
            tally.drop("unfinished_lines", ~facts["finished"])
        if self.min_words_per_line is not None:
            tally.drop("short_lines", after - first < self.min_words_per_line)
        lorem = tally.alive & facts["lorem_ipsum"]
        tally.drop("javascript_lines", facts["javascript"])
        curly = tally.alive & facts["curly_bracket"]
        tally.drop("policy_lines", facts["policy"])

        signals = {
            "lorem_ipsum_lines": texts.counts(lines, lorem),
            "curly_bracket_lines": texts.counts(lines, curly),
            "sentences": texts.totals(lines, facts["sentences"] * tally.alive),
        }
        evidence = tally.evidence() | _first_of_each(lines, strings, curly) | _first_of_each(lines, strings, lorem)
        left = _joined(texts, lines, strings, tally.alive)
        if left is not None:
            left.num_words = texts.totals(lines, facts["num_words"] * tally.alive)
        return Findings(signals | tally.dropped, left, evidence)

    def _look_at(self, texts: Texts, lines: Spans) -> dict[str, Array]:
        """What decides about each line, but for the length of its words."""
        has = PhraseSearch(texts, lines)
        num_words, sentences = count_words_and_sentences(texts, lines)
        return {
            "finished": ends_a_sentence(texts, lines),
            "lorem_ipsum": has("lorem ipsum"),
            "javascript": has(*self.javascript_phrases),
            "curly_bracket": has("{"),
            "policy": has(*self.policy_phrases),
            "num_words": num_words,
            "sentences": sentences,
        }

    def _take_citations_out(self, texts: Texts, lines: Spans, strings: list[str], facts: dict[str, Array]) -> None:
        """Changes the lines that have citations, and what is known of them."""
        places = [match.start() for match in _CITATION.finditer(texts.joined)]
        cited = np.unique(np.searchsorted(lines.starts, places, "right") - 1)
        if len(cited):
            bare = Texts([_CITATION.sub("", strings[index]) for index in cited.tolist()])
            for name, values in self._look_at(bare, Spans(bare.starts, bare.ends, np.arange(len(bare)))).items():
                facts[name][cited] = values
            for index, text in zip(cited.tolist(), bare.strings, strict=True):
                strings[index] = text.strip()

    def _long_words(self, texts: Texts, first: Array) -> Array:
        """Which lines have a word, between white space, that is too long; `first` is each line's first chunk."""
        found = np.zeros(len(first), bool)
        if self.max_word_length is not None:
            long = np.flatnonzero(texts.chunks.lengths > self.max_word_length)
            found[np.searchsorted(first, long, "right") - 1] = True
        return found


class _Tally:
    """Which lines are still there, and how many went for which reason; a line goes for the first."""

    def __init__(self, texts: Texts, lines: Spans) -> None:
        self._texts, self._lines = texts, lines
        self.alive = np.ones(len(lines.starts), bool)
        self.dropped: dict[str, Array] = {}

    def drop(self, reason: str, chosen: Array) -> None:
        self.dropped[reason] = self._texts.counts(self._lines, self.alive & chosen)
        self.alive &= ~chosen

    def evidence(self) -> dict[int, str]:
        total = self._texts.counts(self._lines, ~self.alive).astype(int)
        return {int(index): f"{total[index]} lines dropped" for index in np.flatnonzero(total)}


def _first_of_each(lines: Spans, strings: list[str], chosen: Array) -> dict[int, str]:
    """For each text that has one, the first of the chosen lines, cut short."""
    rows = np.flatnonzero(chosen)
    owners, first = np.unique(lines.owners[rows], return_index=True)
    cut = [strings[index][:_EVIDENCE_CHARACTERS] for index in rows[first].tolist()]
    return dict(zip(owners.tolist(), cut, strict=True))


def _joined(texts: Texts, lines: Spans, strings: list[str], alive: Array) -> Texts | None:
    """The texts made of the lines that are left, or None if no text differs from what it was."""
    kept = np.flatnonzero(alive)
    pieces = [strings[index] for index in kept.tolist()]
    bounds = np.searchsorted(lines.owners[kept], np.arange(len(texts) + 1)).tolist()
    left = ["\n".join(pieces[start:end]) for start, end in pairwise(bounds)]
    return None if left == texts.strings else Texts(left)
