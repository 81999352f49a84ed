"""Several short sequences in one row, so that little is padding.

Best fit, longest first: each sequence goes into the fullest row that still has room for it (the order of TRL's `bfd`
too). At most a few rows are left with a hole, and no sequence is cut. O(n log n) for the order, and a few operations
on one number of `capacity` bits for each sequence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def pack(lengths: npt.NDArray[np.int64], capacity: int) -> list[list[int]]:
    """The numbers of the sequences in each row; none of `lengths` is above `capacity`. The result is deterministic."""
    assert len(lengths) == 0 or int(lengths.max()) <= capacity, "a sequence is longer than a row"
    rows: list[list[int]] = []
    open_rows: list[list[int]] = [[] for _ in range(capacity + 1)]  # by the room that is left
    rooms = 0  # bit r is set where a row with room r is open
    for number in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[number])
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1  # the lowest set bit: the fullest row that will do
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
