"""Packs several short sequences into one row, so that rows have little padding.

The method is best fit decreasing: sequences are sorted by length, longest first, and each goes into the fullest row
that still has room (as TRL's `bfd`). Usually only a few rows keep unused space, and no sequence is cut. The cost is
O(n log n) for sorting, and a few operations on an integer of `capacity` bits per sequence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def pack(lengths: npt.NDArray[np.int64], capacity: int) -> list[list[int]]:
    """The indices of the sequences in each row. No length may exceed `capacity`. The result is deterministic."""
    assert len(lengths) == 0 or int(lengths.max()) <= capacity, "a sequence is longer than a row"
    rows: list[list[int]] = []
    open_rows: list[list[int]] = [[] for _ in range(capacity + 1)]  # indexed by the remaining room
    rooms = 0  # bit r is set if a row with room r exists
    for number in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[number])
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1  # the lowest set bit is the fullest row that fits
            row = open_rows[room].pop()
            if not open_rows[room]:
                rooms ^= 1 << room
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(number)
        open_rows[room - length].append(row)
        rooms |= 1 << (room - length)
    return rows
