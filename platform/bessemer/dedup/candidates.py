"""From buckets to pairs worth comparing.

In a bucket documents stand longest first (by the number of distinct shingles, then by id), and each may be removed
only for the sake of one before it. Two bounds keep the work linear in the bucket:

- J(A, B) <= |B| / |A|, so a document is compared only with those at most 1/threshold times its size: nothing is lost.
- Of these at most `max_candidates`: half of them the longest (which survive, so in a crowd of copies they are the ones
  to match), half the nearest in size (a pair of twins in a crowd of pages that share a template). Twins that a cap
  separates in one bucket may still meet in another; what the cap left out is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bessemer.dedup.arrays import Keys, run_starts

BLOCK = 1 << 20  # pairs made at once: 0.1 GB at the peak


@dataclass(frozen=True)
class Bucketed:
    """Documents in their buckets: four columns of equal length, in any order.

    `location` says where the document is; `rank` orders documents of one size, as their ids do.
    """

    key: Keys
    size: npt.NDArray[np.uint32]
    rank: Keys
    location: Keys


@dataclass(frozen=True)
class Pairs:
    """Each row: a document, and one before it that it may be a near duplicate of. Ascending and distinct."""

    later: Keys
    earlier: Keys
    earlier_rank: Keys

    def __len__(self) -> int:
        return len(self.later)

    def distinct(self) -> Pairs:
        order = np.lexsort((self.earlier, self.later))
        later, earlier = self.later[order], self.earlier[order]
        new = run_starts(later, earlier)
        return Pairs(later[new], earlier[new], self.earlier_rank[order][new])


@dataclass(frozen=True)
class Proposals:
    """What the buckets propose. `capped` counts documents that met more than `max_candidates`, `left_out` the pairs."""

    blocks: Iterator[Pairs]
    num_buckets: int
    largest_bucket: int
    capped: int
    left_out: int


def propose(bucketed: Bucketed, threshold: float, max_candidates: int) -> Proposals:
    """The pairs to verify. `num_buckets` counts those of two or more documents."""
    order = np.lexsort((bucketed.location, bucketed.rank, -bucketed.size.astype(np.int64), bucketed.key))
    key = bucketed.key[order]
    size = bucketed.size[order].astype(np.int64)
    begins = run_starts(key)
    members = np.diff(np.append(begins, len(key)))
    bucket = np.repeat(np.arange(len(begins)), members)

    # The first document of the bucket that is not too long, found for all at once: (bucket, -size) only ascends.
    span = np.int64(1) << 33
    longest = np.floor(size / threshold + 1e-6).astype(np.int64)
    first = np.searchsorted(bucket * span - size, bucket * span - np.minimum(longest, span - 1))
    eligible = np.arange(len(key)) - first
    chosen = np.minimum(eligible, max_candidates)
    return Proposals(
        _blocks(bucketed, order, first, eligible, chosen),
        num_buckets=int(np.count_nonzero(members > 1)),
        largest_bucket=int(members.max(initial=0)),
        capped=int(np.count_nonzero(eligible > chosen)),
        left_out=int((eligible - chosen).sum()),
    )


def _blocks(
    bucketed: Bucketed,
    order: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    eligible: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.int64],
) -> Iterator[Pairs]:
    total = np.cumsum(chosen)
    begin = 0
    while begin < len(chosen):
        done = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, done + BLOCK, side="right")))
        rows = np.repeat(np.arange(begin, end), chosen[begin:end])
        if len(rows):
            place = np.arange(len(rows)) - (np.repeat(total[begin:end] - chosen[begin:end], chosen[begin:end]) - done)
            near = place >= chosen[rows] // 2  # without a cap both halves are one run
            earlier = np.where(near, rows - chosen[rows] + place, first[rows] + place)
            yield Pairs(
                bucketed.location[order[rows]],
                bucketed.location[order[earlier]],
                bucketed.rank[order[earlier]],
            ).distinct()
        begin = end
