"""Operations on sorted arrays. `numpy.unique` can do some of them, but is fifteen times slower on 64-bit keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]


def run_starts(*columns: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Indices of the rows that differ from the row before. The first is 0; empty if there are no rows."""
    new = np.ones(len(columns[0]), np.bool_)
    if len(new):
        new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.flatnonzero(new)


def distinct(values: Keys) -> Keys:
    """The distinct values in ascending order."""
    values = np.sort(values)
    return values[run_starts(values)]


def lookup(keys: Keys, wanted: Keys) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """(whether each wanted key is in the ascending `keys`, its index or 0)."""
    if not len(keys):
        return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.int64)
    place = np.searchsorted(keys, wanted)
    place[place == len(keys)] = 0
    found = keys[place] == wanted
    return found, np.where(found, place, 0)
