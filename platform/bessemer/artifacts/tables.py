"""Reads Parquet files batch by batch and writes them row group by row group, atomically, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bessemer import storage

BATCH_BYTES = 16 << 20
GROUP_ROWS = 8192
GROUP_BYTES = 64 << 20


class TableWriter:
    """Writes a Parquet file batch by batch and renames it into place at the end; equal rows give equal bytes.

    A row group ends at `GROUP_ROWS` rows or with the row that fills `GROUP_BYTES` of text. The sizes of the batches
    change neither the file nor the memory. Columns that a batch lacks are null.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting: list[pa.Table] = [schema.empty_table()]
        self._rows = self._bytes = 0
        self._path = path
        self._atomic = storage.atomic_path(path)

    def __enter__(self) -> TableWriter:
        self._writer = pq.ParquetWriter(self._atomic.__enter__(), self._schema, compression="zstd")
        return self

    def write(self, table: pa.Table) -> None:
        lacking = [f for f in self._schema if f.name not in table.column_names]
        for missing in lacking:
            table = table.append_column(missing, pa.nulls(len(table), missing.type))
        table = table.select(self._schema.names).cast(self._schema)
        sizes = _text_bytes(table)
        start = 0
        while start < len(table):
            filled = np.searchsorted(np.cumsum(sizes[start:]) + self._bytes, GROUP_BYTES)
            end = min(start + int(filled) + 1, start + GROUP_ROWS - self._rows, len(table))
            self._waiting.append(table.slice(start, end - start))
            self._rows += end - start
            self._bytes += int(sizes[start:end].sum())
            if self._rows == GROUP_ROWS or self._bytes >= GROUP_BYTES:
                self._flush()
            start = end

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None and self._rows:
            self._flush()
        with storage.explained(self._path):
            self._writer.close()
        self._atomic.__exit__(kind, error, trace)

    def _flush(self) -> None:
        self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks(), row_group_size=GROUP_ROWS)
        self._waiting, self._rows, self._bytes = [self._schema.empty_table()], 0, 0


def _text_bytes(table: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Bytes of text in each row; zeros if the table has no text."""
    if "text" not in table.column_names:
        return np.zeros(len(table), np.int64)
    import pyarrow.compute as pc

    sizes: np.ndarray[Any, np.dtype[np.int64]] = pc.binary_length(table["text"]).to_numpy().astype(np.int64)
    return sizes


def document_parts(part: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """A documents file in batches of at most about `BATCH_BYTES`, in order."""
    for batch in pq.ParquetFile(part, memory_map=True).iter_batches(1024, columns=columns, use_threads=False):
        yield from split_batch(pa.Table.from_batches([batch]))


def split_batch(table: pa.Table) -> Iterator[pa.Table]:
    """Cuts a table into slices of at most about `BATCH_BYTES`, but of at least one row."""
    if len(table) <= 1 or table.nbytes <= BATCH_BYTES:
        if len(table):
            yield table
        return
    half = len(table) // 2
    yield from split_batch(table.slice(0, half))
    yield from split_batch(table.slice(half))
