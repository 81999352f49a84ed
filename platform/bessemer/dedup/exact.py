"""Finds exact copies: documents with the same characters, ignoring white space and Unicode composition.

The copy with the shortest URL stays (`/page` rather than `/page?print=1`); among equally short URLs, the one with the
smallest id. Case, digits and punctuation count here. Copies that differ only in case or punctuation are near duplicates
with Jaccard similarity 1. Copies in different splits are treated in the same way: one survives, so no text is in two
splits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

from bessemer.dedup.arrays import run_starts
from bessemer.dedup.unicode_folding import composed

_SPACE = 0x20


def normal_form(text: str) -> bytes:
    """The text in NFC and UTF-8. Runs of ASCII white space or control characters become one space, and are removed at
    both ends."""
    content = np.frombuffer(composed(text).encode("utf-8", "surrogatepass"), np.uint8)
    space = content <= _SPACE
    again = space[1:] & space[:-1]
    content = np.maximum(content, _SPACE)
    if again.any():
        content = content[np.append(True, ~again)]
    return content.tobytes().strip()


def exact_hashes(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """XXH3-128 of the normal forms: [texts, 2], the high half first."""
    digests = b"".join(xxhash.xxh3_128_digest(normal_form(text)) for text in texts)
    return np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)


def first_copies(hashes: npt.NDArray[np.uint64], preference: Sequence[npt.NDArray[np.uint64]]) -> npt.NDArray[np.int64]:
    """For every row, the row of the copy that stays: the smallest by the `preference` columns, most important first."""
    order = np.lexsort((*reversed(preference), hashes[:, 1], hashes[:, 0]))
    begins = run_starts(hashes[order, 0], hashes[order, 1])
    result = np.empty(len(hashes), np.int64)
    result[order] = np.repeat(order[begins], np.diff(np.append(begins, len(order))))
    return result
