"""Turns a text into the set of its shingles: hashes of n consecutive words.

A text of fewer than n words has one shingle of all its words, so it resembles only texts with exactly these words.
A text without words has no shingles and resembles nothing. Two different shingles share a 64-bit hash with
probability 5e-20. Among pairs of documents with a million shingles each, 1 in 2e7 has a false match.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bessemer.dedup.unicode_folding import mix
from bessemer.dedup.words import Words

_BLOCK = 1 << 14
"""Number of words per block of hashing."""


@dataclass(frozen=True)
class ShingleSets:
    """The shingles of several texts. Text i has `values[offsets[i]:offsets[i + 1]]`, ascending and distinct."""

    values: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> npt.NDArray[np.uint64]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)


def shingle_sets(words: Words, ngram_size: int) -> ShingleSets:
    """The sets of word n-grams of texts."""
    factors = mix(np.arange(1, ngram_size + 1, dtype=np.uint64)) | np.uint64(1)
    ngrams = _ngrams(words.hashes, factors)
    sets = [np.empty(0, np.uint64)]
    sizes = np.zeros(len(words.offsets), np.int64)
    for index, (start, end) in enumerate(pairwise(words.offsets.tolist()), 1):
        if start == end:
            continue
        found = ngrams[start : end - ngram_size + 1]
        if end - start < ngram_size:
            found = mix((words.hashes[start:end] * factors[: end - start]).sum(keepdims=True))
        found.sort()  # in place: no other text has these n-grams
        new = found[1:] != found[:-1]
        sets.append(found if new.all() else found[np.append(True, new)])
        sizes[index] = len(sets[-1])
    return ShingleSets(np.concatenate(sets), np.cumsum(sizes))


def _ngrams(words: npt.NDArray[np.uint64], factors: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The hash of every n consecutive words, also across two texts; computed in blocks that fit in the cache."""
    ngrams = np.empty(max(0, len(words) - len(factors) + 1), np.uint64)
    for start in range(0, len(ngrams), _BLOCK):
        end = min(start + _BLOCK, len(ngrams))
        hashes = words[start:end] * factors[0]
        for place in range(1, len(factors)):
            hashes += words[start + place : end + place] * factors[place]
        ngrams[start:end] = mix(hashes)
    return ngrams


def jaccard(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> float:
    """The Jaccard similarity |A and B| / |A or B| of two sorted sets; 0 if both are empty."""
    both = np.concatenate((first, second))
    if not len(both):
        return 0.0
    both.sort(kind="stable")  # merges two ascending runs in linear time
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared)


def similarity(folded: float, with_numbers: float) -> float:
    """The similarity of two texts, given their Jaccard similarity without and with numbers and operators.

    Two editions of a text differ in some dates and page numbers. There the folded similarity is right, as in FineWeb.
    If the similarity with numbers is lower by more than a tenth, the numbers are part of the content and count.
    """
    return folded if with_numbers >= 0.9 * folded else with_numbers
