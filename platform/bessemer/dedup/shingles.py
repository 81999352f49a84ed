"""A text as the set of its shingles: hashes of n consecutive words.

A text of fewer than n words is one shingle of all its words, so that it resembles only texts of exactly these words.
A text without words has no shingles and resembles nothing. Two different shingles share a 64-bit hash with
probability 5e-20; a pair of documents of a million shingles each has one false match in 2e7 such pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bessemer.dedup.arrays import run_starts
from bessemer.dedup.folding import mix
from bessemer.dedup.words import hash_words


@dataclass(frozen=True)
class ShingleSets:
    """The shingles of several texts, each ascending and distinct: text i has `values[offsets[i]:offsets[i + 1]]`."""

    values: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> npt.NDArray[np.uint64]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)


def shingle_sets(texts: Sequence[str], ngram_size: int, *, keep_numbers: bool = False) -> ShingleSets:
    """The sets of word n-grams of `texts`; `keep_numbers` as in `hash_words`."""
    words, offsets = hash_words(texts, keep_numbers=keep_numbers)
    factors = mix(np.arange(1, ngram_size + 1, dtype=np.uint64)) | np.uint64(1)
    sets = [np.empty(0, np.uint64)]
    sizes = np.zeros(len(texts) + 1, np.int64)
    ngrams = _ngrams(words, factors)
    for index in range(len(texts)):
        start, end = int(offsets[index]), int(offsets[index + 1])
        if start == end:
            continue
        if end - start < ngram_size:
            found = mix((words[start:end] * factors[: end - start]).sum(keepdims=True))
        else:
            found = ngrams[start : end - ngram_size + 1]
            found.sort()  # in place: no other text has these n-grams
            found = found[run_starts(found)]
        sets.append(found)
        sizes[index + 1] = len(found)
    return ShingleSets(np.concatenate(sets), np.cumsum(sizes))


def _ngrams(words: npt.NDArray[np.uint64], factors: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The hash of every n words in a row, those across two texts included."""
    count = max(0, len(words) - len(factors) + 1)
    hashes = np.zeros(count, np.uint64)
    for place, factor in enumerate(factors):
        hashes += words[place : place + count] * factor
    return mix(hashes)


def jaccard(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> float:
    """|A and B| / |A or B| of two sets in ascending order; 0 if both are empty."""
    both = np.concatenate((first, second))
    if not len(both):
        return 0.0
    both.sort()
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared)


def similarity(folded: float, with_numbers: float) -> float:
    """The similarity of two texts, given their Jaccard similarity without and with numbers and operators.

    Two editions of a text differ in some dates and page numbers: then the folded similarity holds, as in FineWeb. If
    more than a tenth of it rests on numbers being equal, they are part of the content and count.
    """
    return folded if with_numbers >= 0.9 * folded else with_numbers
