"""The sampler maps each step N to its rows. It is a pure function of (seed, N), so resuming needs no loader state.

The epochs follow each other in one endless sequence of rows. With global batch size B, step N (counted from 1) takes
the rows (N-1)*B .. N*B-1 of this sequence. Inside an epoch, the rows are in pseudo-random order. The permutation is
computed, not stored, by a Feistel network over the next power of two. The network is applied repeatedly until the
result is inside the range (Black and Rogaway 2002, "cycle walking"; fewer than two applications per row on average). It
takes O(1) memory and about 0.1 microseconds per row, and its inverse gives the steps that saw a row.

A batch may span two epochs, so no rows are left over at the end of an epoch. With `repeats` > 1, each batch is used in
that number of consecutive steps. The rows of a step do not depend on the number of workers: worker r of w takes the
r-th of w contiguous parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_ROUNDS = 8


@dataclass(frozen=True)
class Rows:
    """The rows of a batch. Each row has an epoch, and an index in [0, rows per epoch)."""

    epoch: Integers
    index: Integers

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, chosen: slice | npt.NDArray[np.bool_]) -> Rows:
        return Rows(self.epoch[chosen], self.index[chosen])

    def part(self, number: int, of: int) -> Rows:
        """The part with index `number` (from 0) of `of` contiguous parts, whose lengths differ by at most 1."""
        return self[len(self) * number // of : len(self) * (number + 1) // of]


@dataclass(frozen=True)
class BatchSampler:
    """The rows of every step, for `num_rows` rows per epoch and `batch_size` rows per step."""

    num_rows: int
    batch_size: int
    seed: int
    repeats: int = 1

    def rows(self, step: int) -> Rows:
        """The rows of step `step`, counted from 1."""
        assert step >= 1
        batch = (step - 1) // self.repeats
        number = np.arange(batch * self.batch_size, (batch + 1) * self.batch_size, dtype=np.int64)
        epoch, position = np.divmod(number, self.num_rows)
        index = np.empty_like(position)
        for one in np.unique(epoch):
            chosen = epoch == one
            index[chosen] = self._permutation(int(one)).forward(position[chosen])
        return Rows(epoch, index)

    def steps_of(self, rows: Rows) -> Integers:
        """The steps whose batches contain any of `rows`, ascending, without duplicates."""
        position = np.empty_like(rows.index)
        for one in np.unique(rows.epoch):
            chosen = rows.epoch == one
            position[chosen] = self._permutation(int(one)).backward(rows.index[chosen])
        batch = np.unique((rows.epoch * self.num_rows + position) // self.batch_size)
        return (batch[:, None] * self.repeats + np.arange(1, self.repeats + 1)).ravel()

    def _permutation(self, epoch: int) -> Permutation:
        return Permutation(self.num_rows, (self.seed, epoch))


class Permutation:
    """A pseudo-random permutation of [0, size), determined by `key`, with its inverse, in O(1) memory."""

    def __init__(self, size: int, key: tuple[int, ...]) -> None:
        assert size >= 1
        bits = (size - 1).bit_length()
        self.size = size
        self.low_bits = np.uint64(bits - bits // 2)
        self.low_mask = np.uint64((1 << (bits - bits // 2)) - 1)
        self.high_mask = np.uint64((1 << (bits // 2)) - 1)
        # SeedSequence's output is fixed by numpy's compatibility policy.
        self.keys = np.random.SeedSequence(key).generate_state(_ROUNDS, np.uint64)

    def forward(self, positions: Integers) -> Integers:
        return self._walk(positions, range(_ROUNDS))

    def backward(self, values: Integers) -> Integers:
        """The position of each value. It is the inverse of `forward`: `backward(forward(x)) == x`."""
        return self._walk(values, range(_ROUNDS - 1, -1, -1))

    def _walk(self, numbers: Integers, rounds: range) -> Integers:
        found = self._mix(numbers.astype(np.uint64), rounds)
        outside = np.flatnonzero(found >= self.size)
        while len(outside):
            found[outside] = self._mix(found[outside], rounds)
            outside = outside[found[outside] >= self.size]
        return found.astype(np.int64)

    def _mix(self, numbers: Words, rounds: range) -> Words:
        """An alternating Feistel network: each round XORs one half of the bits with a hash of the other half."""
        high, low = numbers >> self.low_bits, numbers & self.low_mask
        for number in rounds:
            if number % 2:
                low = low ^ (_hash(high, self.keys[number]) & self.low_mask)
            else:
                high = high ^ (_hash(low, self.keys[number]) & self.high_mask)
        return (high << self.low_bits) | low


def _hash(words: Words, key: Any) -> Words:
    """The finalizer of SplitMix64 (Steele et al. 2014), keyed."""
    words = (words ^ key) * np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
