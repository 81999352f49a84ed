"""`c4@datatrove`: keeps lines that look like sentences, and pages with enough such lines.

These are the rules of C4 (Raffel et al., 2020) in the version of datatrove's `c4_filters.py`: 3 words per line, 5
sentences per page, `'` also ends a sentence, and words are counted before citations are removed. FineWeb used
`terminal_punctuation: false`. Sentences are counted like in spaCy's sentencizer.

A line is either removed or kept unchanged, with its indentation. Blank lines between two kept lines stay, so paragraphs
remain separate; datatrove drops blank lines and the white space around lines. Later rules count line feeds as if blank
lines were dropped, because FineWeb's limits were set on such texts. A page is dropped if it has too few sentences,
`lorem ipsum`, or a `{`. The last condition removes pages with program code; set `max_curly_bracket_lines: null` to keep
them.

The phrases and the end marks are English, and FineWeb-2 dropped C4's rules for other languages because they made models
worse. So the rule does not change texts in languages that are not listed in `languages`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from copy import copy
from typing import ClassVar, Literal

import numpy as np
from pydantic import field_validator

from bessemer.clean.language import check_languages
from bessemer.clean.languages import ENGLISH, UNSPACED, base, spoken
from bessemer.clean.lines import PhraseSearch, count_words_and_sentences, ends_a_sentence, strings_of, stripped
from bessemer.clean.rules import Findings, Rule
from bessemer.clean.spans import Array, Spans
from bessemer.clean.texts import Texts

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_EVIDENCE_CHARACTERS = 80


class C4(Rule):
    """Drops lines that are not sentences, and pages with few sentences left (`c4@datatrove`)."""

    reads_language: ClassVar[bool] = True

    source: ClassVar[str] = "C4 (Raffel et al., 2020), as in datatrove"

    rule: Literal["c4"] = "c4"
    languages: tuple[str, ...] | None = (ENGLISH,)
    """Languages of the texts to which the rule applies; `null` means all."""
    max_word_length: int | None = 1000
    """Maximum length of a word, in characters; lines with a longer word are dropped."""
    citations: bool = False
    """Whether to keep marks such as `[12]`, `[edit]` and `[citation needed]`."""
    terminal_punctuation: bool = True
    """Whether a line must end with `.`, `?`, `!`, `"` or `'`, and not with `...`. In languages other than English,
    their own marks that end a sentence and closing quotation marks count too."""
    min_words_per_line: int | None = 3
    """Minimum number of words of a line; lines with fewer words are dropped. White space separates words, except in
    languages that do not use it."""
    javascript_phrases: tuple[str, ...] = ("javascript",)
    """Lines with one of these phrases are dropped; case is ignored."""
    policy_phrases: tuple[str, ...] = (
        "terms of use",
        "privacy policy",
        "cookie policy",
        "uses cookies",
        "use of cookies",
        "use cookies",
    )
    """Lines with one of these phrases are dropped; case is ignored."""
    max_lorem_ipsum_lines: int | None = 0
    """Maximum number of lines with `lorem ipsum` that are not dropped."""
    max_curly_bracket_lines: int | None = 0
    """Maximum number of lines with `{`. Counts kept lines and lines that are dropped because of a policy phrase."""
    min_sentences: int | None = 5
    """Minimum number of sentences in the remaining lines."""

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...] | None) -> tuple[str, ...] | None:
        check_languages(languages or ())
        return languages

    def apply(self, texts: Texts) -> Findings:
        ours = np.array([self._works_on(language) for language in texts.languages], bool)
        lines = texts.split_lines
        first, after = texts.chunk_range(lines)
        spans = stripped(texts, lines, first, after)
        facts = self._look_at(texts, spans)
        changed = {} if self.citations else self._take_citations_out(texts, lines, spans, facts)

        tally = _Tally(texts, lines)
        tally.drop("long_word_lines", self._long_words(texts, first))
        if self.terminal_punctuation:
            tally.drop("unfinished_lines", ~facts["finished"])
        if self.min_words_per_line is not None:
            unspaced = np.array([base(language or ENGLISH) in UNSPACED for language in texts.languages], bool)[
                lines.owners
            ]
            num_words = np.where(unspaced, facts["num_words"], after - first)
            tally.drop("short_lines", num_words < self.min_words_per_line)
        lorem = tally.alive & facts["lorem_ipsum"]
        tally.drop("javascript_lines", facts["javascript"])
        curly = tally.alive & facts["curly_bracket"]
        tally.drop("policy_lines", facts["policy"])

        signals = {
            "lorem_ipsum_lines": texts.counts(lines, lorem),
            "curly_bracket_lines": texts.counts(lines, curly),
            "sentences": texts.totals(lines, facts["sentences"] * tally.alive),
        }
        signals |= tally.dropped
        blank = spans.lengths == 0
        evidence = {int(i): f"{n} lines dropped" for i, n in enumerate(tally.lost(~blank)) if n}
        evidence |= _first_of_each(texts, lines, curly) | _first_of_each(texts, lines, lorem)
        left = _left(texts, lines, tally.alive & ~blank, blank, changed, ours)
        left = left or copy(texts)
        left.num_words = np.where(ours, texts.totals(lines, facts["num_words"] * tally.alive), texts.num_words)
        num_lines = np.maximum(texts.counts(lines, tally.alive), 1)
        left.num_newlines = np.where(ours, num_lines - 1, texts.num_newlines)
        return Findings({name: np.where(ours, values, np.nan) for name, values in signals.items()}, left, evidence)

    def abstentions(self, languages: Collection[str]) -> list[str]:
        others = [language for language in languages if not self._works_on(language)]
        if not others:
            return []
        return [f"`c4` does not apply to texts in {spoken(others)}; list them in `languages` of `c4` to change that"]

    def _works_on(self, language: str | None) -> bool:
        return self.languages is None or language is None or base(language) in self.languages

    def _look_at(self, texts: Texts, lines: Spans) -> dict[str, Array]:
        """The properties that decide about each line, except the length of its words."""
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

    def _take_citations_out(self, texts: Texts, lines: Spans, spans: Spans, facts: dict[str, Array]) -> dict[int, str]:
        """Line index -> the line without its citations, for lines with citations. Updates `facts` for these lines."""
        places = [match.start() for match in _CITATION.finditer(texts.joined)]
        cited = np.unique(np.searchsorted(lines.starts, places, "right") - 1)
        if not len(cited):
            return {}
        strings = strings_of(texts, spans.select(cited))
        languages = [texts.languages[owner] for owner in lines.owners[cited].tolist()]
        bare = Texts([_CITATION.sub("", text) for text in strings], languages)
        for name, values in self._look_at(bare, Spans(bare.starts, bare.ends, np.arange(len(bare)))).items():
            facts[name][cited] = values
        indents = texts.joined
        return {
            index: indents[lines.starts[index] : spans.starts[index]] + text.strip() if text.strip() else ""
            for index, text in zip(cited.tolist(), bare.strings, strict=True)
        }

    def _long_words(self, texts: Texts, first: Array) -> Array:
        """Mask of the lines with a chunk of more than `max_word_length`. `first` has the first chunk of each line."""
        found = np.zeros(len(first), bool)
        if self.max_word_length is not None:
            long = np.flatnonzero(texts.chunks.lengths > self.max_word_length)
            found[np.searchsorted(first, long, "right") - 1] = True
        return found


class _Tally:
    """The lines that are not dropped, and the number of lines dropped for each reason. Only the first reason counts."""

    def __init__(self, texts: Texts, lines: Spans) -> None:
        self._texts, self._lines = texts, lines
        self.alive = np.ones(len(lines.starts), bool)
        self.dropped: dict[str, Array] = {}

    def drop(self, reason: str, chosen: Array) -> None:
        self.dropped[reason] = self._texts.counts(self._lines, self.alive & chosen)
        self.alive &= ~chosen

    def lost(self, chosen: Array) -> list[int]:
        """For each text, the number of `chosen` lines that have been dropped."""
        number: list[int] = self._texts.counts(self._lines, chosen & ~self.alive).astype(int).tolist()
        return number


def _first_of_each(texts: Texts, lines: Spans, chosen: Array) -> dict[int, str]:
    """For each text that has one, the first of the chosen lines, cut short."""
    rows = np.flatnonzero(chosen)
    owners, first = np.unique(lines.owners[rows], return_index=True)
    cut = [line.strip()[:_EVIDENCE_CHARACTERS] for line in strings_of(texts, lines.select(rows[first]))]
    return dict(zip(owners.tolist(), cut, strict=True))


def _left(texts: Texts, lines: Spans, alive: Array, blank: Array, changed: dict[int, str], ours: Array) -> Texts | None:
    """The texts made of the remaining lines, or None if no text changes.

    A text that loses no line and no citation is unchanged, and so is a text outside the mask `ours`. The longest run of
    blank lines between two remaining lines stays.
    """
    touched = texts.counts(lines, ~alive & ~blank) > 0
    touched[lines.owners[list(changed)]] = True
    touched &= ours
    if not touched.any():
        return None
    emptied = [index for index, text in changed.items() if not text]
    alive = alive & ~np.isin(np.arange(len(alive)), emptied)
    kept = np.flatnonzero(alive & touched[lines.owners])
    places = dict(zip(kept.tolist(), range(len(kept)), strict=True))
    pieces = strings_of(texts, lines.select(kept))
    for index in changed.keys() & places.keys():
        pieces[places[index]] = changed[index]

    numbers = np.arange(len(blank))
    blank_in_a_row = numbers - np.maximum.accumulate(np.where(blank, -1, numbers))
    gaps = np.maximum.reduceat(blank_in_a_row, kept).tolist() if len(kept) else []
    bounds = np.searchsorted(lines.owners[kept], np.arange(len(texts) + 1)).tolist()
    left = list(texts.strings)
    for owner in np.flatnonzero(touched).tolist():
        start, end = bounds[owner], bounds[owner + 1]
        ends = ["\n" * (gap + 1) for gap in gaps[start : end - 1]] + [""]
        left[owner] = "".join(map(str.__add__, pieces[start:end], ends))
    return Texts(left) if left != texts.strings else None
