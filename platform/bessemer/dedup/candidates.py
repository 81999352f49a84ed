"""Selects the pairs of documents in a bucket that are compared.

The documents in a bucket are sorted by length (number of distinct shingles, longest first), then by id. A document can
be removed only in favour of an earlier one. Two bounds keep the work linear in the size of the bucket:

- J(A, B) <= |B| / |A|, so a document is compared only with documents of at most 1/threshold times its size. This loses
  no duplicates.
- Each document is compared with at most `max_candidates` of these. The first half are the longest, because the longest
  of many copies survives. The second half are the nearest in size, to find two near duplicates among many pages with
  the same template. A pair that the cap omits in one bucket may occur in another. Omitted pairs are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bessemer.dedup.arrays import Keys, run_starts

BLOCK = 1 << 20  # pairs per block: 0.1 GB at the peak


@dataclass(frozen=True)
class Bucketed:
    """Documents in their buckets: four columns of equal length, in any order.

    `location` is the part and row of the document. `rank` sorts documents of one size in the order of their ids.
    """

    key: Keys
    size: npt.NDArray[np.uint32]
    rank: Keys
    location: Keys


@dataclass(frozen=True)
class CandidatePairs:
    """Each row is a document and an earlier one that it may duplicate. Rows are ascending and distinct."""

    later: Keys
    earlier: Keys
    earlier_rank: Keys

    def __len__(self) -> int:
        return len(self.later)

    def distinct(self) -> CandidatePairs:
        order = np.lexsort((self.earlier, self.later))
        later, earlier = self.later[order], self.earlier[order]
        new = run_starts(later, earlier)
        return CandidatePairs(later[new], earlier[new], self.earlier_rank[order][new])


@dataclass(frozen=True)
class Proposals:
    """The proposed pairs. `capped` counts documents with more than `max_candidates` partners, `left_out` omitted
    pairs."""

    blocks: Iterator[CandidatePairs]
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

    # One search finds for every document the first one in its bucket that is not too long: (bucket, -size) ascends.
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
) -> Iterator[CandidatePairs]:
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
            yield CandidatePairs(
                bucketed.location[order[rows]],
                bucketed.location[order[earlier]],
                bucketed.rank[order[earlier]],
            ).distinct()
        begin = end
