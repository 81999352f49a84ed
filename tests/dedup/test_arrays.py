"""Sorted arrays: distinct values, and where rows begin."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.dedup.arrays import distinct, lookup, run_starts

numbers = st.lists(st.integers(0, 5), max_size=12)


@settings(deadline=None)
@given(numbers, numbers)
def test_distinct_and_lookup_are_those_of_sets(values: list[int], wanted: list[int]) -> None:
    keys = distinct(np.array(values, np.uint64))
    assert keys.tolist() == sorted(set(values))
    found, place = lookup(keys, np.array(wanted, np.uint64))
    assert found.tolist() == [number in values for number in wanted]
    assert keys[place[found]].tolist() == [number for number in wanted if number in values]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=12))
def test_a_run_is_rows_that_are_equal_in_all_columns(rows: list[tuple[int, int]]) -> None:
    columns = np.array(rows, np.uint64).reshape(-1, 2)
    expected = [place for place, row in enumerate(rows) if place == 0 or row != rows[place - 1]]
    assert run_starts(columns[:, 0], columns[:, 1]).tolist() == expected
