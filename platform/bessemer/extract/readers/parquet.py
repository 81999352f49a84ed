"""Parquet files: one record a row; row groups are read a few megabytes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bessemer.extract.readers.base import Piece, record_of_fields
from bessemer.extract.records import Record
from bessemer.extract.settings import FileSettings, ReaderSettings

_BATCH_BYTES = 8 << 20


def read_parquet(piece: Piece, settings: ReaderSettings) -> Iterator[Record]:
    """The rows of a range of row groups; a record's number is that of its row in the file, from 1."""
    row = 0
    try:
        with pq.ParquetFile(piece.checked_path()) as file:
            name = settings.fields.text
            if name not in file.schema_arrow.names or not _is_text(file.schema_arrow.field(name).type):
                if piece.start == 0:
                    yield piece.record(settings, rule="missing_text", evidence=_lacks(name, file.schema_arrow))
                return
            plain = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
            for row, values in rows_of(file, piece, plain):
                yield _record(piece, settings, row, values)
    except UNREADABLE as error:
        yield damaged(piece, settings, row, error)


def rows_of(
    file: pq.ParquetFile, piece: Piece, columns: list[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number in the file, from 1, values) of the rows of a piece, a few megabytes at a time."""
    end = file.metadata.num_row_groups if piece.end is None else piece.end
    row = sum(file.metadata.row_group(group).num_rows for group in range(piece.start))
    for group in range(piece.start, end):
        metadata = file.metadata.row_group(group)
        at_once = max(1, min(1024, _BATCH_BYTES * metadata.num_rows // max(1, metadata.total_byte_size)))
        for batch in file.iter_batches(at_once, row_groups=[group], columns=columns, use_threads=False):
            for values in batch.to_pylist():
                row += 1
                yield row, values


def damaged(piece: Piece, settings: FileSettings, row: int, error: Exception) -> Record:
    """The removed record that stands for what follows `row` in a file that cannot be read further."""
    evidence = f"after row {row}: {' '.join(str(error).split())}"[:200]
    return piece.record(settings, f"{row + 1}-", rule="damaged_record", evidence=evidence)


UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""What pyarrow raises where a Parquet file is damaged."""


def split_row_groups(path: str, target_bytes: int) -> list[tuple[int, int]]:
    """(first, end) of ranges of row groups of about `target_bytes` uncompressed; one range if it cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups)]
    except UNREADABLE:
        return [(0, 0)]
    ranges: list[tuple[int, int]] = []
    start = size = 0
    for group, group_size in enumerate(sizes):
        size += group_size
        if size >= target_bytes:
            ranges.append((start, group + 1))
            start, size = group + 1, 0
    if start < len(sizes) or not sizes:
        ranges.append((start, len(sizes)))
    return ranges


def _record(piece: Piece, settings: ReaderSettings, number: int, values: dict[str, object]) -> Record:
    text = values[settings.fields.text]
    if text is None:
        return piece.record(settings, number, rule="missing_text", evidence=f"row {number}: null")
    content = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")
    if len(content) > settings.max_document_bytes:
        threshold = settings.max_document_bytes
        return piece.record(settings, number, rule="too_large", value=len(content), threshold=threshold)
    return record_of_fields(piece, settings, number, content, values)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _lacks(name: str, schema: pa.Schema) -> str:
    if name in schema.names:
        return f"`{name}` is {schema.field(name).type}, not a text"
    return f"no `{name}` among {', '.join(f'`{key}`' for key in schema.names[:10])}"[:200]
