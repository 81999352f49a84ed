"""Ranges of sorted runs: for any number of ranges, each row is read once, by the reader of its range."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bessemer.dedup.exchange import (
    hash_range,
    locations,
    part_range,
    parts_of,
    read_range,
    rows_of,
    write_runs,
)

SCHEMA = pa.schema([("key", pa.uint64()), ("value", pa.uint32())])


@pytest.mark.parametrize("of", [1, 2, 3, 64])
def test_ranges_of_hashes_share_out_all_rows(tmp_path: Path, of: int) -> None:
    keys = np.random.default_rng(1).integers(0, 2**64, 100, dtype=np.uint64)
    keys[:4] = [0, 2**64 - 1, 2**63, 2**63 - 1]
    files = [tmp_path / "a.arrow", tmp_path / "b.arrow"]
    for path, part in zip(files, (keys[:30], keys[30:]), strict=True):
        runs = [np.sort(run) for run in np.array_split(part, 3)]
        assert write_runs(path, SCHEMA, [{"key": run, "value": run.astype(np.uint32)} for run in runs]) == len(part)
    found = [read_range(files, SCHEMA, *hash_range(number, of)) for number in range(of)]
    assert sorted(np.concatenate([rows["key"] for rows in found]).tolist()) == sorted(keys.tolist())
    for rows in found:
        assert (rows["value"] == rows["key"].astype(np.uint32)).all()
    edges = [hash_range(number, of) for number in range(of)]
    assert edges[0][0] == 0
    assert edges[-1][1] == 2**64 - 1
    assert all(before[1] + 1 == after[0] for before, after in pairwise(edges))


def test_a_file_without_rows_is_a_file(tmp_path: Path) -> None:
    write_runs(tmp_path / "none.arrow", SCHEMA, [])
    rows = read_range([tmp_path / "none.arrow"], SCHEMA)
    assert [len(rows[name]) for name in SCHEMA.names] == [0, 0]
    assert rows["value"].dtype == np.uint32


def test_a_location_is_its_part_and_row() -> None:
    place = locations(3, np.array([0, 7, 2**32 - 1]))
    assert parts_of(place).tolist() == [3, 3, 3]
    assert rows_of(place).tolist() == [0, 7, 2**32 - 1]
    first, last = part_range(3)
    assert (int(place[0]), int(place[2])) == (first, last)
