"""Packing keeps every sequence whole and wastes little space."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bessemer.train.objectives.packing import pack


@given(st.lists(st.integers(0, 64)))
def test_every_sequence_is_in_one_row_and_rows_hold_what_they_can(lengths):
    rows = pack(np.array(lengths, np.int64), 64)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(len(row) > 0 and sum(lengths[number] for number in row) <= 64 for row in rows)


@given(st.lists(st.integers(1, 64), min_size=1))
def test_no_two_rows_would_fit_in_one(lengths):
    """A property of best fit: no two rows together have at most the capacity of one row."""
    filled = sorted(sum(lengths[number] for number in row) for row in pack(np.array(lengths, np.int64), 64))
    assert len(filled) < 2 or filled[0] + filled[1] > 64


def test_each_goes_into_the_fullest_row_that_has_room():
    assert pack(np.array([6, 5, 4, 3, 2]), 10) == [[0, 2], [1, 3, 4]]
