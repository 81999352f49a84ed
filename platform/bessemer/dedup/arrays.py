"""Small things on sorted arrays. `numpy.unique` would do some of it, fifteen times slower on 64-bit keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]


def run_starts(*columns: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where rows begin that differ from the row before: the first is 0, unless there are no rows."""
    new = np.ones(len(columns[0]), np.bool_)
    if len(new):
        new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.flatnonzero(new)


def distinct(values: Keys) -> Keys:
    """The values in ascending order, each once."""
    values = np.sort(values)
    return values[run_starts(values)]


def lookup(keys: Keys, wanted: Keys) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """(whether each wanted key is among the ascending `keys`, where it is or 0)."""
    if not len(keys):
        return np.zeros(len(wanted), np.bool_), np.zeros(len(wanted), np.int64)
    place = np.searchsorted(keys, wanted)
    place[place == len(keys)] = 0
    found = keys[place] == wanted
    return found, np.where(found, place, 0)
