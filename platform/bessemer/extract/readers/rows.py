"""Rows of any columns: JSON lines, a JSON array, or Parquet; each is one record whose content is the row as JSON.

For data that is no plain text: conversations, preferences. What a row means is for others to say; here it is only
found, numbered, and kept below a size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow.parquet as pq

from bessemer.extract.formats import BROKEN_STREAM, open_decompressed
from bessemer.extract.readers.base import Piece
from bessemer.extract.readers.lines import records_of_lines
from bessemer.extract.readers.parquet import UNREADABLE, damaged, rows_of
from bessemer.extract.records import Record
from bessemer.extract.settings import FileSettings

SUFFIXES = ".jsonl .ndjson .json .parquet"


def read_rows(piece: Piece, settings: FileSettings) -> Iterator[Record]:
    """The rows of a piece in order; a record's number is that of its line or row in the file, from 1."""
    if piece.format == "parquet":
        yield from _parquet(piece, settings)
    elif piece.format == "jsonl":
        yield from records_of_lines(piece, settings, lambda n, line: piece.record(settings, n, content=line))
    elif ".json" in piece.relative.lower():
        yield from _array(piece, settings)
    else:
        yield piece.record(settings, rule="unsupported_format", evidence=f"rows are read from {SUFFIXES}")


def _parquet(piece: Piece, settings: FileSettings) -> Iterator[Record]:
    number = 0
    try:
        with pq.ParquetFile(piece.checked_path()) as file:
            for number, values in rows_of(file, piece):
                yield _bounded(piece, settings, number, json.dumps(values, ensure_ascii=False, default=str).encode())
    except UNREADABLE as error:
        yield damaged(piece, settings, number, error)


def _array(piece: Piece, settings: FileSettings) -> Iterator[Record]:
    """The elements of a JSON array; a file that is one object is one row, and one of JSON lines is read as such."""
    try:
        with open_decompressed(piece.checked_path()) as file:
            rows = json.loads(file.read().decode("utf-8-sig"))
    except BROKEN_STREAM as error:
        yield piece.record(settings, rule="damaged_record", evidence=str(error)[:200])
        return
    except (ValueError, RecursionError):
        yield from records_of_lines(piece, settings, lambda n, line: piece.record(settings, n, content=line))
        return
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        yield _bounded(piece, settings, number, json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _bounded(piece: Piece, settings: FileSettings, number: int, content: bytes) -> Record:
    limit = settings.max_document_bytes
    if len(content) > limit:
        return piece.record(settings, number, rule="too_large", value=len(content), threshold=limit)
    return piece.record(settings, number, content=content)
