"""`gopher_repetition@datatrove`: removes repetitive texts.

The thresholds are those of Gopher (Rae et al., 2021, table A1). The counting is datatrove's
(`gopher_repetition_filter.py`):

- The second and later copies of a line or paragraph count; the first does not.
- The most frequent 2-, 3- and 4-grams count with all their copies.
- Copies of 5- to 10-grams are counted in a walk through the words that skips each copy it finds.

Lines, paragraphs and words are compared by their hashes. An n-gram that occurs twice consists of two (n-1)-grams that
occur twice, so only these are examined for the next n. Few remain after the 2-grams, and most of the cost is one sort
of the words. There is one difference from datatrove: it compares 5- to 10-grams without blanks (`ab c` equals `a bc`),
while this rule compares word by word.

A limit of `auto` means Gopher's value for English and FineWeb-2's values for other languages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from bessemer.clean.rules import AUTO, Automatic, Findings, Limit, Rule
from bessemer.clean.spans import Array, Spans, mix
from bessemer.clean.texts import Texts, ratio

_N_GRAMS = [f"top_{n}_gram" for n in (2, 3, 4)] + [f"duplicate_{n}_gram" for n in (5, 6, 7, 8, 9, 10)]


class GopherRepetition(Rule):
    """Removes texts that repeat lines, paragraphs or phrases (`gopher_repetition@datatrove`)."""

    automatic: ClassVar[Mapping[str, Automatic]] = {
        "max_duplicate_line_ratio": Automatic(0.30, "duplicate_line"),
        **{
            f"max_{name}_character_ratio": Automatic(english, name)
            for name, english in zip(_N_GRAMS, (0.20, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.10), strict=True)
        },
    }
    reads_language: ClassVar[bool] = True

    source: ClassVar[str] = "Gopher (Rae et al., 2021, table A1), FineWeb-2 (2025)"

    rule: Literal["gopher_repetition"] = "gopher_repetition"
    min_characters: int | None = 1
    """Minimum number of characters of a text; 1 removes empty texts."""
    max_duplicate_paragraph_ratio: float | None = 0.30
    """Maximum share of paragraphs that are copies of an earlier one."""
    max_duplicate_paragraph_character_ratio: float | None = 0.20
    """Maximum share of characters in these paragraphs."""
    max_duplicate_line_ratio: Limit = AUTO
    """Maximum share of lines that are copies of an earlier one; 0.30 in English."""
    max_duplicate_line_character_ratio: float | None = 0.20
    """Maximum share of characters in these lines."""
    max_top_2_gram_character_ratio: Limit = AUTO
    """Maximum share of characters in the most frequent pair of words; 0.20 in English."""
    max_top_3_gram_character_ratio: Limit = AUTO
    """Maximum share of characters in the most frequent run of 3 words; 0.18 in English."""
    max_top_4_gram_character_ratio: Limit = AUTO
    """Maximum share of characters in the most frequent run of 4 words; 0.16 in English."""
    max_duplicate_5_gram_character_ratio: Limit = AUTO
    """Maximum share of characters in copies of earlier runs of 5 words; 0.15 in English."""
    max_duplicate_6_gram_character_ratio: Limit = AUTO
    """Maximum share of characters in copies of earlier runs of 6 words; 0.14 in English."""
    max_duplicate_7_gram_character_ratio: Limit = AUTO
    """Maximum share of characters in copies of earlier runs of 7 words; 0.13 in English."""
    max_duplicate_8_gram_character_ratio: Limit = AUTO
    """Maximum share of characters in copies of earlier runs of 8 words; 0.12 in English."""
    max_duplicate_9_gram_character_ratio: Limit = AUTO
    """Maximum share of characters in copies of earlier runs of 9 words; 0.11 in English."""
    max_duplicate_10_gram_character_ratio: Limit = AUTO
    """Maximum share of characters in copies of earlier runs of 10 words; 0.10 in English."""

    def apply(self, texts: Texts) -> Findings:
        characters = texts.lengths.astype(np.float64)
        paragraphs = _paragraphs(texts)
        num_paragraphs = np.maximum(texts.counts(paragraphs), 1)
        paragraph_copies, paragraph_characters = duplicates(texts, paragraphs)

        lines = texts.lines.select(texts.lines.lengths > 0)
        line_copies, line_characters = duplicates(texts, lines)
        before, after = _edges(texts)

        signals = {
            "characters": characters,
            "duplicate_paragraph_ratio": paragraph_copies / num_paragraphs,
            "duplicate_paragraph_character_ratio": ratio(paragraph_characters, characters),
            "duplicate_line_ratio": ratio(line_copies + (before & after), texts.counts(lines) + before + after),
            "duplicate_line_character_ratio": ratio(line_characters, characters),
        }
        for name, total in zip(_N_GRAMS, _n_gram_characters(texts), strict=True):
            signals[f"{name}_character_ratio"] = ratio(total, characters)
        return Findings(signals)


def duplicates(texts: Texts, spans: Spans) -> tuple[Array, Array]:
    """For each text, the number of pieces that copy an earlier piece, and the number of their characters."""
    hashes = _salted(texts.hashes(spans.starts, spans.ends), spans.owners)
    order = np.argsort(hashes)
    hashes = hashes[order]
    copies = spans.select(order[1:][hashes[1:] == hashes[:-1]])
    return texts.counts(copies), texts.totals(copies, copies.lengths)


def _salted(hashes: Array, owners: Array) -> Array:
    """Hashes that differ between texts, even for equal pieces."""
    return mix(hashes + owners.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03))


def _paragraphs(texts: Texts) -> Spans:
    """The paragraphs: pieces between runs of two or more line feeds, in the text stripped of outer white space."""
    head, tail = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    num_chunks = texts.counts(texts.chunks).astype(np.int64)
    some = np.flatnonzero(num_chunks)
    last = np.cumsum(num_chunks)[some] - 1
    head[some], tail[some] = texts.chunks.starts[last - num_chunks[some] + 1], texts.chunks.ends[last]

    feeds = texts.lines.ends
    apart = np.diff(feeds) != 1
    starts, ends = feeds[np.append(True, apart)[: len(feeds)]], feeds[np.append(apart, True)[: len(feeds)]] + 1
    owners = texts.of_owner(starts)
    gap = (ends - starts > 1) & (starts >= head[owners]) & (ends <= tail[owners])
    return Spans(
        np.sort(np.concatenate([head[some], ends[gap]])),
        np.sort(np.concatenate([tail[some], starts[gap]])),
        np.sort(np.concatenate([some, owners[gap]])),
    )


def _edges(texts: Texts) -> tuple[Array, Array]:
    """Masks of the texts that begin and that end with a line feed. A split leaves an empty line there."""
    some = texts.lengths > 0
    return some & (texts.codes[texts.starts] == 10), some & (texts.codes[texts.ends - 1] == 10)


@dataclass(frozen=True)
class _Repeated:
    """The n-grams that occur at least twice in their text, by the positions of their first words."""

    places: Array
    """All positions, in the order of the text."""
    names: Array
    """For each position, the number of its n-gram."""
    firsts: Array
    """For each n-gram, the position of its first occurrence, in no particular order."""
    counts: Array
    """For each n-gram, in the order of `firsts`, the number of its occurrences."""


def _repeated_n_grams(texts: Texts) -> Iterator[tuple[int, _Repeated]]:
    """(n, repeated n-grams) for n = 2 to 10."""
    words = texts.words
    hashes = _salted(texts.word_hashes, words.owners)
    places = np.flatnonzero(words.owners[1:] == words.owners[:-1])
    keys = hashes[places] * np.uint64(0x9E3779B97F4A7C15) + hashes[places + 1]
    name_at = np.zeros(len(words.starts) + 1, np.int64)
    for n in range(2, 11):
        order = np.argsort(keys)
        keys = keys[order]
        counts = _run_lengths(keys)
        again = counts > 1
        places = places[order[np.repeat(again, counts)]]
        counts = counts[again]
        names = np.repeat(np.arange(len(counts)), counts)
        firsts = np.minimum.reduceat(places, np.cumsum(counts) - counts) if len(counts) else places
        name_at[places] = names
        places = np.sort(places)
        yield n, _Repeated(places, name_at[places], firsts, counts)
        places = places[:-1][places[1:] - places[:-1] == 1]
        keys = name_at[places] << 32 | name_at[places + 1]


def _run_lengths(values: Array) -> Array:
    """The lengths of the runs of equal values."""
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.diff(np.concatenate([[0], edges, [len(values)]])) if len(values) else edges


def _n_gram_characters(texts: Texts) -> Iterator[Array]:
    """Number of characters per text: in the most frequent 2- to 4-grams, then in copies of 5- to 10-grams."""
    letters = np.zeros(len(texts.words.starts) + 1, np.int64)
    np.cumsum(texts.words.lengths, out=letters[1:])
    for n, repeated in _repeated_n_grams(texts):
        if n <= 4:
            first, count = _most_frequent(texts, repeated, n)
            yield count * (letters[first + n * (count > 0)] - letters[first] + (n - 1))
        else:
            copies = _walk(repeated, n)
            yield np.bincount(texts.words.owners[copies], letters[copies + n] - letters[copies], len(texts))


def _most_frequent(texts: Texts, repeated: _Repeated, n: int) -> tuple[Array, Array]:
    """For each text, the first position of its most frequent n-gram, and its number of occurrences. The earliest n-gram
    wins a tie."""
    owners, low = texts.words.owners, (1 << 32) - 1
    first_word = np.searchsorted(owners, np.arange(len(texts)))
    score = np.where(texts.num_words >= n, 1 << 32 | (low - first_word), 0)
    np.maximum.at(score, owners[repeated.firsts], repeated.counts << 32 | (low - repeated.firsts))
    return np.where(score > 0, low - (score & low), 0), score >> 32


def _walk(repeated: _Repeated, n: int) -> Array:
    """Positions of the copies that a walk through the words finds. The walk skips each copy that it finds."""
    met = bytearray(len(repeated.counts))
    copies: list[int] = []
    free = 0
    for place, name in zip(repeated.places.tolist(), repeated.names.tolist(), strict=True):
        if place >= free:
            if met[name]:
                copies.append(place)
                free = place + n
            else:
                met[name] = 1
    return np.array(copies, np.int64)
