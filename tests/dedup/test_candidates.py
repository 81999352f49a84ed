"""Buckets propose every pair that can be a duplicate, unless a cap leaves pairs out, which is counted."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.dedup import candidates
from bessemer.dedup.candidates import Bucketed, CandidatePairs, propose

rows = st.lists(st.tuples(st.sampled_from([3, 5, 2**64 - 1]), st.integers(1, 30), st.integers(0, 50)), max_size=25).map(
    lambda found: [(*row, place) for place, row in enumerate(found)]
)


def bucketed(found: list[tuple[int, int, int, int]]) -> Bucketed:
    columns = [np.array([row[i] for row in found], np.uint32 if i == 1 else np.uint64) for i in range(4)]
    return Bucketed(*columns)


def all_pairs(blocks: list[CandidatePairs]) -> set[tuple[int, int]]:
    return {pair for block in blocks for pair in zip(block.later.tolist(), block.earlier.tolist(), strict=True)}


def plain_pairs(found: list[tuple[int, int, int, int]], threshold: float) -> dict[int, list[tuple[int, int]]]:
    """For each document its (later, earlier) pairs, the earliest first."""
    pairs = defaultdict(list)
    for key in {row[0] for row in found}:
        bucket = sorted((row for row in found if row[0] == key), key=lambda row: (-row[1], row[2], row[3]))
        for place, later in enumerate(bucket):
            for earlier in bucket[:place]:
                if later[1] >= threshold * earlier[1] - 1e-9:
                    pairs[later[3]].append((later[3], earlier[3]))
    return pairs


@settings(deadline=None)
@given(rows, st.sampled_from([0.5, 0.8, 1.0]), st.integers(1, 40))
def test_every_pair_that_sizes_allow_is_proposed(
    found: list[tuple[int, int, int, int]], threshold: float, block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "BLOCK", block)
        proposals = propose(bucketed(found), threshold, max_candidates=1000)
        blocks = list(proposals.blocks)
    assert all_pairs(blocks) == {pair for pairs in plain_pairs(found, threshold).values() for pair in pairs}
    assert proposals.capped == proposals.left_out == 0
    for pairs in blocks:
        ordered = list(zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True))
        assert ordered == sorted(set(ordered))
        assert pairs.earlier_rank.tolist() == [found[place][2] for place in pairs.earlier.tolist()]


@settings(deadline=None)
@given(rows, st.integers(2, 6))
def test_a_cap_keeps_the_longest_and_the_nearest(found: list[tuple[int, int, int, int]], cap: int) -> None:
    proposals = propose(bucketed(found), 0.5, max_candidates=cap)
    expected, left_out, capped = set(), 0, 0
    for pairs in plain_pairs(found, 0.5).values():
        if len(pairs) > cap:
            capped += 1
            left_out += len(pairs) - cap
            pairs = pairs[: cap // 2] + pairs[len(pairs) - (cap - cap // 2) :]
        expected |= set(pairs)
    assert all_pairs(list(proposals.blocks)) == expected
    assert (proposals.capped, proposals.left_out) == (capped, left_out)


def test_the_order_of_rows_is_no_matter() -> None:
    found = [(key, size, rank, 7 * key + size + rank) for key in (1, 2) for size in (3, 4) for rank in (0, 1)]
    straight, turned = (list(propose(bucketed(r), 0.5, 2).blocks) for r in (found, found[::-1]))
    assert all_pairs(straight) == all_pairs(turned)


def test_buckets_are_counted() -> None:
    found = [(1, 10, 0, 0), (1, 10, 1, 1), (1, 10, 2, 2), (2, 10, 0, 0), (3, 1, 0, 0), (3, 10, 1, 1)]
    proposals = propose(bucketed(found), 0.8, 32)
    assert (proposals.num_buckets, proposals.largest_bucket) == (2, 3)
