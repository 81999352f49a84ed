"""Exact copies: documents with the same characters, white space and Unicode composition aside.

Of the copies the one with the shortest URL stays (`/page` rather than `/page?print=1`), then the one with the smallest
id. Case, digits and punctuation count here; copies that differ in case or punctuation are near duplicates of Jaccard 1.
Copies in different splits are treated alike: one survives, so no text is in two splits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

from bessemer.dedup.arrays import run_starts
from bessemer.dedup.folding import composed

_SPACE = 0x20


def normal_form(text: str) -> bytes:
    """NFC in UTF-8; every run of ASCII white space or control characters is one space, none at the ends."""
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
    """For every row the row of the copy that stays: the least by `preference` (columns, the most important first)."""
    order = np.lexsort((*reversed(preference), hashes[:, 1], hashes[:, 0]))
    begins = run_starts(hashes[order, 0], hashes[order, 1])
    result = np.empty(len(hashes), np.int64)
    result[order] = np.repeat(order[begins], np.diff(np.append(begins, len(order))))
    return result
