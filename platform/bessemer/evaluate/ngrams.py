"""Hashes every n consecutive values (a rolling hash) and looks the hashes up in a small set.

With P[i] the sum of v_j B^j over j < i, modulo 2^64, the hash of v_i .. v_{i+n-1} is (P[i + n] - P[i]) B^-i. The cost
is one subtraction and one product per position, independent of n. The values should already use all 64 bits (`mix`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

FILTER_BITS = 20
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)


def mix(values: Hashes) -> Hashes:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit over all 64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def prefix_sums(values: Hashes) -> Hashes:
    """The prefix sums P, one entry longer than the values."""
    return np.concatenate([np.zeros(1, np.uint64), np.cumsum(values * _powers(_BASE, len(values)), dtype=np.uint64)])


def window_hashes(sums: Hashes, length: int) -> Hashes:
    """The hash of every `length` consecutive values. Empty if there are fewer values."""
    count = max(0, len(sums) - length)
    hashes: Hashes = (sums[length : length + count] - sums[:count]) * _powers(_INVERSE, count)
    return hashes


def _powers(ratio: int, count: int) -> Hashes:
    factors = np.full(count, ratio, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)


@dataclass(frozen=True)
class Wanted:
    """A set of distinct hashes in ascending order. A bit field of their first bits avoids most binary searches."""

    hashes: Hashes
    filter: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, hashes: Hashes) -> Wanted:
        hashes = np.unique(hashes)
        bits = np.zeros(1 << FILTER_BITS, bool)
        bits[_first_bits(hashes)] = True
        return cls(hashes, bits)

    def find(self, hashes: Hashes) -> tuple[Integers, Integers]:
        """Returns (positions in `hashes` whose hash is in the set, the index of that hash in the set)."""
        places = np.flatnonzero(self.filter[_first_bits(hashes)])
        numbers = np.searchsorted(self.hashes, hashes[places])
        numbers = np.minimum(numbers, max(0, len(self.hashes) - 1))
        same = self.hashes[numbers] == hashes[places]
        return places[same], numbers[same]


def _first_bits(hashes: Hashes) -> Integers:
    return (hashes >> np.uint64(64 - FILTER_BITS)).astype(np.int64)
