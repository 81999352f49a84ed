"""Texts to hashes of their words, vectorised: about 90 MB of English per second and core.

Splitting a text into Python strings costs more than everything that follows. Here a text becomes an array of code
points, one table lookup per character, and the hash of a word is the sum of value(c_i) * BASE^i over its characters,
modulo 2^64. The sums of all words are one `reduceat`; dividing by BASE^start makes them independent of the place of the
word. Texts go through in chunks that stay in the processor's cache.

With numbers kept, signs such as `+`, `<=` and `-` are a word if they are operators: with an operand and the same number
of blanks on both sides (`x * 3`, `x<=y`), or right before a number (`-5`, `$7`). A dash also needs a number next to it.
So `**bold**`, `* item` and `well-known` are the same words with and without the signs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bessemer.dedup.folding import CLASS_BITS, DROPPED, GAP, NUMBER, OPERATOR, UNSPACED, composed, mix, table

CHUNK = 1 << 16  # characters worked on at once
LONGEST_PIECE = 1 << 20  # a longer text is cut, at a space if there is one

_BLANKS = np.array([ord(character) for character in " \t\xa0\u2009\u202f\u3000"])
_CLOSING = np.array([ord(character) for character in ")]}'\"`’”"])
_OPENING = np.array([ord(character) for character in "([{'\"`‘“"])
"""Characters that end and begin an operand, along with letters and digits."""

_BASE = 0x9E3779B97F4A7C15


def hash_words(
    texts: Sequence[str], *, keep_numbers: bool = False
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """(hashes of all words, one text after the other; offsets of the texts in them, one more than texts).

    All numbers are equal and operators are ignored, unless `keep_numbers`.
    """
    hashes, counts = [np.empty(0, np.uint64)], np.zeros(len(texts) + 1, np.int64)
    for indices, pieces in _chunks(texts):
        found, lengths = _hash_pieces(pieces, keep_numbers)
        hashes.append(found)
        np.add.at(counts, np.asarray(indices) + 1, lengths)
    return np.concatenate(hashes), np.cumsum(counts)


def _chunks(texts: Sequence[str]) -> Iterator[tuple[list[int], list[str]]]:
    """Pieces of text with the index of theirs, about CHUNK characters at once."""
    indices: list[int] = []
    pieces: list[str] = []
    waiting = 0
    for index, text in enumerate(texts):
        for piece in _pieces(text):
            if pieces and waiting + len(piece) > CHUNK:
                yield indices, pieces
                indices, pieces, waiting = [], [], 0
            indices.append(index)
            pieces.append(piece)
            waiting += len(piece)
    if pieces:
        yield indices, pieces


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > LONGEST_PIECE:
        limit = start + LONGEST_PIECE
        space = max(text.rfind(" ", start, limit), text.rfind("\n", start, limit))
        end = space if space > start else limit
        yield composed(text[start:end])
        start = end
    yield composed(text[start:])


def _hash_pieces(pieces: list[str], keep_numbers: bool) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """(hashes of the words of all pieces, how many each piece has)."""
    codes = np.frombuffer("\n".join(pieces).encode("utf-32-le", "surrogatepass"), np.int32)
    ends = np.cumsum([len(piece) + 1 for piece in pieces])
    entries = table(keep_numbers).take(codes, mode="clip")  # `clip` avoids a pass that checks for indices out of range
    classes = entries.astype(np.uint8) & ((1 << CLASS_BITS) - 1)
    dropped = classes == DROPPED
    if dropped.any():
        ends -= np.append(0, np.cumsum(dropped))[np.minimum(ends, len(codes))]
        codes, entries, classes = codes[~dropped], entries[~dropped], classes[~dropped]
    signs = np.flatnonzero(classes == OPERATOR) if keep_numbers else dropped[:0]
    if len(signs):
        gaps = signs[~_are_operators(signs, codes, entries, classes)]
        entries[gaps] = classes[gaps] = GAP
    before = np.empty_like(classes)
    before[:1] = GAP
    before[1:] = classes[:-1]
    starts = np.flatnonzero(((classes != before) & (classes != GAP)) | (classes == UNSPACED))
    if not len(starts):
        return np.empty(0, np.uint64), np.zeros(len(pieces), np.int64)
    powers, inverses = _powers(1 << max(0, len(entries) - 1).bit_length())
    entries >>= np.uint64(CLASS_BITS)
    entries *= powers[: len(entries)]
    hashes = mix(np.add.reduceat(entries, starts) * inverses[starts] + np.uint64(_BASE))  # a folded number's sum is 0
    return hashes, np.diff(np.searchsorted(starts, ends), prepend=0)


def _are_operators(
    signs: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int32],
    entries: npt.NDArray[np.uint64],
    classes: npt.NDArray[Any],
) -> npt.NDArray[np.bool_]:
    """Which of the characters at `signs`, all of class OPERATOR, are part of an operator; a run of signs is one."""
    begins = np.append(True, np.diff(signs) > 1)
    lengths = np.diff(np.append(np.flatnonzero(begins), len(signs)))
    first = signs[begins]
    last = first + lengths - 1
    codes = np.concatenate(([ord("\n")] * 2, codes, [ord("\n")] * 2))  # from here on, places are shifted by two
    classes = np.concatenate(([GAP] * 2, classes, [GAP] * 2))
    is_operand = (classes != GAP) & (classes != OPERATOR)
    blank_before, blank_after = np.isin(codes[first + 1], _BLANKS), np.isin(codes[last + 3], _BLANKS)
    left, right = first + 1 - blank_before, last + 3 + blank_after
    operand_before = is_operand[left] | np.isin(codes[left], _CLOSING)
    operand_after = is_operand[right] | np.isin(codes[right], _OPENING)
    between = operand_before & operand_after & (blank_before == blank_after)
    sign = (lengths == 1) & (classes[last + 3] == NUMBER) & ~(operand_before & ~blank_before)
    dashes = np.add.reduceat(entries[signs] == _dash(), np.flatnonzero(begins))
    near_number = (classes[left] == NUMBER) | (classes[right] == NUMBER)
    counts = np.where(dashes == lengths, (lengths == 1) & near_number & (between | sign), between | sign)
    return np.repeat(counts, lengths)


@functools.cache
def _dash() -> int:
    return int(table(True)[ord("-")])


@functools.lru_cache(maxsize=4)
def _powers(count: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """BASE^i and BASE^-i modulo 2^64 for i < count."""

    def geometric(ratio: int) -> npt.NDArray[np.uint64]:
        factors = np.full(count, ratio, np.uint64)
        factors[0] = 1
        return np.cumprod(factors)

    return geometric(_BASE), geometric(pow(_BASE, -1, 1 << 64))
