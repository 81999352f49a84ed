"""Reads Parquet files: one record per row. Columns are read one at a time, in parts of a few megabytes of a row group.

Only the columns that a record uses are read. A value outside the text column that cannot be read or converted becomes
null, and the record names it (`unconverted`). If two columns have the same name, the first counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.readers.base import Cut, Piece, Reader, lacks, record_of_fields, row_record
from bessemer.extract.readers.columns import Lost, binary_values, is_text, python_values
from bessemer.extract.settings import FileSettings, ReaderSettings
from bessemer.extract.streams import compression_of

_BATCH_BYTES = 8 << 20

UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""The exceptions that pyarrow raises for a damaged Parquet file, or for an unsupported feature."""

Convert = Callable[[pa.Array], tuple[list[Any], Lost]]


def read_parquet(piece: Piece, settings: ReaderSettings) -> Iterator[ExtractedRecord]:
    """Yields the rows of a range of row groups. A record's number is the number of its row in the file, from 1."""
    row, name = 0, settings.fields.text
    try:
        with open_parquet(piece) as file:
            kinds = column_types(file)
            if name not in kinds or not is_text(kinds[name]):
                if piece.start == 0:
                    reason = lacks(name, list(kinds), str(kinds.get(name)))
                    yield piece.record(settings, rule="missing_column", evidence=reason)
                return
            wanted = set(settings.fields.model_dump().values())
            converts: dict[str, Convert] = {
                column: python_values
                for column, kind in kinds.items()
                if column in wanted or not (pa.types.is_nested(kind) or _is_binary(kind))
            }
            converts[name] = lambda array: (binary_values(array), [])
            for row, values, lost in rows_of(file, piece, converts, required=name):
                text = values[name]
                if text is None:
                    yield piece.record(settings, row, rule="missing_text", evidence=f"row {row}: null")
                else:
                    yield record_of_fields(piece, settings, row, text, values, lost)
    except UNREADABLE as error:
        yield piece.unreadable(settings, error, row)


def _rows(piece: Piece, settings: FileSettings) -> Iterator[ExtractedRecord]:
    number = 0
    try:
        with open_parquet(piece) as file:
            columns = dict.fromkeys(column_types(file), python_values)
            for number, values, lost in rows_of(file, piece, columns):
                yield row_record(piece, settings, number, values, lost)
    except UNREADABLE as error:
        yield piece.unreadable(settings, error, number)


def _cuts(path: Path, target_bytes: int) -> list[Cut]:
    ranges = split_row_groups(str(path), target_bytes)
    weight = path.stat().st_size // max(1, len(ranges))
    return [Cut(first, end, 1, weight) for first, end in ranges] if len(ranges) > 1 else []


def open_parquet(piece: Piece) -> pq.ParquetFile:
    """Opens the file. Raises one of `UNREADABLE`."""
    path = piece.checked_path()
    try:
        return pq.ParquetFile(path)
    except UNREADABLE:
        if compression := compression_of(path):
            raise ValueError(f"a Parquet file inside a {compression} stream: decompress it first") from None
        raise


def column_types(file: pq.ParquetFile) -> dict[str, pa.DataType]:
    """The type of every column. If columns have the same name, the first counts."""
    types: dict[str, pa.DataType] = {}
    for field in file.schema_arrow:
        types.setdefault(field.name, field.type)
    return types


def rows_of(
    file: pq.ParquetFile, piece: Piece, converts: Mapping[str, Convert], *, required: str | None = None
) -> Iterator[tuple[int, dict[str, Any], list[str]]]:
    """Yields (row number in the file from 1, values, columns of values that were lost) for the rows of a piece.

    Raises one of `UNREADABLE` if the `required` column is damaged or missing.
    """
    end = file.metadata.num_row_groups if piece.end is None else piece.end
    row = sum(file.metadata.row_group(group).num_rows for group in range(piece.start))
    for group in range(piece.start, end):
        metadata = file.metadata.row_group(group)
        at_once = max(1, min(1024, _BATCH_BYTES * metadata.num_rows // max(1, metadata.total_byte_size)))
        columns = [
            _cells(file, group, name, convert, at_once, is_required=name == required)
            for name, convert in converts.items()
        ]
        for cells in zip(*columns, strict=True):
            row += 1
            lost = [name for name, (_, count) in zip(converts, cells, strict=True) for _ in range(count)]
            yield row, dict(zip(converts, (value for value, _ in cells), strict=True)), lost


def _cells(
    file: pq.ParquetFile, group: int, name: str, convert: Convert, at_once: int, *, is_required: bool
) -> Iterator[tuple[Any, int]]:
    """Yields (value, number of values lost in it) for each row of a column in a row group."""
    rows = file.metadata.row_group(group).num_rows
    done = 0
    try:
        for batch in file.iter_batches(at_once, row_groups=[group], columns=[name], use_threads=False):
            values, lost = convert(batch.column(batch.schema.get_all_field_indices(name)[0]))
            done += len(values)
            if lost:
                counts = Counter(lost)
                yield from ((value, counts[index]) for index, value in enumerate(values))
            else:
                yield from zip(values, repeat(0))
    except UNREADABLE:
        if is_required:
            raise
        yield from [(None, 1)] * (rows - done)


def split_row_groups(path: str, target_bytes: int) -> list[tuple[int, int]]:
    """Divides a file into ranges of row groups of about `target_bytes` uncompressed. Returns (first, end) of each
    range. A file that cannot be read is one range."""
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


def _is_binary(kind: pa.DataType) -> bool:
    """Whether the values are bytes, which metadata cannot hold."""
    return "binary" in str(kind)


PARQUET = Reader("parquet", (".parquet",), read_parquet, _rows, _cuts, other_suffixes=(".pq",), magic=b"PAR1")
