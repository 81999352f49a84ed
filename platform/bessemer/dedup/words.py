"""Hashes the words of texts, vectorised.

Splitting a text into Python strings would cost more than all later steps. Here a text becomes an array of code points,
and one table lookup per character gives its class and folded form. A word is a run of characters of one class. Hashing
takes one step per eight folded characters, so most words need a single step. Texts are processed in chunks that fit in
the processor's cache.

If numbers are kept, the signs that `operators` classifies as operators are words too. Other signs are ignored, so
`**bold**`, `* item` and `well-known` have the same words as without their signs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

from bessemer.dedup.operators import mark_operators
from bessemer.dedup.unicode_folding import (
    ASTRAL,
    CLASSES,
    COMPOSES,
    DROPPED,
    FOLDED_SHIFT,
    GAP,
    NUMBER,
    SYMBOL,
    UNSPACED,
    folded_codes,
    mix,
    table,
)

CHUNK = 1 << 18  # characters per chunk
LONGEST_PIECE = 1 << 20  # a longer text is cut, at a space if there is one

_MARGIN = "\n" * 8
"""Gaps around a chunk, so that each character has neighbours."""
_LOOKED_UP = 1 << 14
"""Characters per table lookup: `take` creates indices of 64 bits."""
_BLOCK = 8
"""Characters per hashing step: two integers of four 16-bit characters."""
_LONG_WORD = 4 * _BLOCK
"""After this number of characters the rest of a word is hashed separately."""
_FIRST, _SECOND = (
    np.array([(1 << 16 * min(max(0, left - before), 4)) - 1 for left in range(_BLOCK + 1)], np.uint64)
    for before in (0, 4)
)
"""Masks of the two integers, by the number of characters left in the word."""
_FACTORS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_NUMBER_HASH = np.uint64(0xE220A8397B1DCDAF)
"""The hash of every number if numbers are folded."""


@dataclass(frozen=True)
class Words:
    """The words of several texts. Text i has the words `hashes[offsets[i]:offsets[i + 1]]`."""

    hashes: npt.NDArray[np.uint64]
    classes: npt.NDArray[np.uint8]
    """Class of each word's characters, such as NUMBER; SYMBOL for operators."""
    offsets: npt.NDArray[np.int64]

    def folded(self) -> Words:
        """The words with all numbers equal and without operators."""
        stays = self.classes != SYMBOL
        classes = self.classes[stays]
        hashes = np.where(classes == NUMBER, _NUMBER_HASH, self.hashes[stays])
        return Words(hashes, classes, np.append(0, np.cumsum(stays))[self.offsets])


def find_words(texts: Sequence[str]) -> Words:
    """All words of the texts, numbers and operators included."""
    hashes, classes = [np.empty(0, np.uint64)], [np.empty(0, np.uint8)]
    counts = np.zeros(len(texts) + 1, np.int64)
    for indices, pieces in _chunks(texts):
        found, kinds, lengths = _hash_pieces(pieces)
        hashes.append(found)
        classes.append(kinds)
        np.add.at(counts, np.asarray(indices) + 1, lengths)
    return Words(np.concatenate(hashes), np.concatenate(classes), np.cumsum(counts))


def hash_words(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """(hashes of all words, offsets of the texts in them). All numbers are equal and operators are ignored."""
    words = find_words(texts).folded()
    return words.hashes, words.offsets


def _chunks(texts: Sequence[str]) -> Iterator[tuple[list[int], list[str]]]:
    """Chunks of about CHUNK characters: pieces of text with the indices of their texts."""
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
        yield text[start:end]
        start = end
    yield text[start:]


def _hash_pieces(pieces: list[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """(hashes of the words of all pieces, their classes, number of words per piece)."""
    codes, entries = _look_up(pieces)
    properties = entries.astype(np.uint8)
    if np.bitwise_or.reduce(properties) & COMPOSES:
        pieces = [unicodedata.normalize("NFC", piece) for piece in pieces]
        codes, entries = _look_up(pieces)
        properties = entries.astype(np.uint8)
    ends = np.cumsum([len(piece) + 1 for piece in pieces]) + len(_MARGIN)
    classes = properties & np.uint8(CLASSES)
    if classes.max() == DROPPED:
        stays = classes != DROPPED
        ends -= np.cumsum(~stays)[ends]
        codes, entries, properties, classes = (column[stays] for column in (codes, entries, properties, classes))
    mark_operators(properties, classes)
    starts, lengths = _find_runs(classes)
    hashes = _hash_runs(starts, lengths, codes, entries)
    return hashes, classes[starts], np.diff(np.searchsorted(starts, ends), prepend=0)


def _look_up(pieces: list[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint32]]:
    """(code points of the pieces with line feeds between and around them, their entries in `folding.table`)."""
    joined = _MARGIN + "\n".join(pieces) + _MARGIN
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.int32)
    entries = np.empty(len(codes), np.uint32)
    for start in range(0, len(codes), _LOOKED_UP):  # `clip` avoids a pass that checks for indices out of range
        part = slice(start, start + _LOOKED_UP)
        table().take(codes[part], mode="clip", out=entries[part])
    return codes, entries


def _find_runs(classes: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(starts, lengths) of the runs of one class, omitting gaps. Each letter of class UNSPACED is a run by itself."""
    before, after = classes[:-1], classes[1:]
    changes = before != after
    starts, ends = changes & (after != GAP), changes & (before != GAP)
    unspaced = classes == UNSPACED
    if unspaced.any():
        starts |= unspaced[1:]
        ends |= unspaced[:-1]
    last_gaps = np.flatnonzero(starts)
    return last_gaps + 1, np.flatnonzero(ends) - last_gaps


def _hash_runs(
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int32],
    entries: npt.NDArray[np.uint32],
) -> npt.NDArray[np.uint64]:
    """The hashes of the folded characters from each start."""
    units = (entries >> np.uint32(FOLDED_SHIFT)).astype(np.uint16)
    windows = np.lib.stride_tricks.as_strided(units[:4].view(np.uint64), (len(units) - 3,), (units.itemsize,))
    hashes = mix(_blocks(windows, starts, lengths))
    longer = np.flatnonzero(lengths > _BLOCK)
    for offset in range(_BLOCK, _LONG_WORD, _BLOCK):
        if not len(longer):
            break
        left = lengths[longer] - offset
        hashes[longer] = mix(hashes[longer] + _blocks(windows, starts[longer] + offset, left))
        longer = longer[left > _BLOCK]
    for word in longer.tolist():
        rest = units[starts[word] + _LONG_WORD : starts[word] + lengths[word]]
        hashes[word] ^= np.uint64(xxhash.xxh3_64_intdigest(rest.tobytes()))
    if codes.max() > ASTRAL:
        _add_astral(hashes, starts, lengths, codes, np.flatnonzero(units == ASTRAL))
    return hashes


def _blocks(
    windows: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64], left: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """The eight characters from each start as one integer; only the first `left` if the word is shorter."""
    first = windows[starts]
    first &= _FIRST.take(left, mode="clip")
    first *= _FACTORS[0]
    second = windows[starts + 4]
    second &= _SECOND.take(left, mode="clip")
    second *= _FACTORS[1]
    first += second << np.uint64(32)  # equal differences in the high bits of both must not cancel
    first += second >> np.uint64(32)
    return first


def _add_astral(
    hashes: npt.NDArray[np.uint64],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int32],
    places: npt.NDArray[np.int64],
) -> None:
    """Adds the characters at `places`, whose forms need more than 16 bits, to the hashes of their words."""
    words = np.searchsorted(starts, places, side="right") - 1
    inside = places - starts[words]
    chosen = (words >= 0) & (inside < lengths[words])
    words, inside, places = words[chosen], inside[chosen], places[chosen]
    np.add.at(hashes, words, mix(folded_codes()[codes[places]] + (inside.astype(np.uint64) << np.uint64(32))))
