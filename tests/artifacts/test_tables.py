"""Files do not depend on how their rows arrived, and memory does not grow with them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.artifacts import tables

SCHEMA = pa.schema([("text", pa.large_string()), ("note", pa.string())])


def write(path: Path, texts: list[str], cuts: list[int]) -> bytes:
    with tables.TableWriter(path, SCHEMA) as writer:
        edges = sorted({0, len(texts), *(cut % (len(texts) + 1) for cut in cuts)})
        for start, end in pairwise(edges):
            writer.write(pa.table({"text": pa.array(texts[start:end], pa.large_string())}))
    return path.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=40), st.lists(st.integers(0, 100), max_size=6))
def test_the_bytes_do_not_depend_on_how_the_rows_were_cut(tmp_path: Path, texts: list[str], cuts: list[int]) -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(tables, "GROUP_ROWS", 7)
    patch.setattr(tables, "GROUP_BYTES", 60)
    try:
        whole = write(tmp_path / "whole.parquet", texts, [])
        assert write(tmp_path / "cut.parquet", texts, cuts) == whole
        assert pq.read_table(tmp_path / "cut.parquet")["text"].to_pylist() == texts
    finally:
        patch.undo()


def test_a_row_group_ends_where_its_text_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "GROUP_BYTES", 10)
    write(tmp_path / "x.parquet", ["aaaaaa", "bbbbbb", "c", "dddddddddd"], [])
    metadata = pq.read_metadata(tmp_path / "x.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2, 2]


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with tables.TableWriter(tmp_path / "x.parquet", SCHEMA) as writer:
            writer.write(pa.table({"text": pa.array(["a"], pa.large_string())}))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_batches_are_bounded_in_bytes() -> None:
    table = pa.table({"text": ["x" * 9_000_000, "y" * 9_000_000, "z"]})
    parts = list(tables.split_batch(table))
    assert pa.concat_tables(parts).equals(table)
    assert [len(part) for part in parts] == [1, 2]
