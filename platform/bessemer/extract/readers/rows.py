"""Reads rows of any columns from JSON, CSV, TSV or Parquet. Each row is one record, whose content is the row as JSON.

Conversations and preferences are read this way. This module finds and numbers the rows and limits their size. The stage
interprets their content.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from bessemer.extract.readers.base import Piece
from bessemer.extract.readers.columns import python_values
from bessemer.extract.readers.lines import records_of_lines
from bessemer.extract.readers.parquet import UNREADABLE, column_types, open_parquet, rows_of
from bessemer.extract.readers.separated import records_of_rows
from bessemer.extract.readers.values import records_of_values
from bessemer.extract.records import ExtractedRecord
from bessemer.extract.settings import FileSettings

SUFFIXES = ".jsonl .json .csv .tsv .parquet"


def read_rows(piece: Piece, settings: FileSettings) -> Iterator[ExtractedRecord]:
    """Yields the rows of a piece in order. A record's number counts lines, elements or rows in the file, from 1.

    Raises InputChanged, at the latest after the last row, if the file has changed since it was hashed.
    """

    def from_json(number: int, value: bytes) -> ExtractedRecord:
        return piece.record(settings, number, content=value)

    if piece.format == "parquet":
        yield from _parquet(piece, settings)
    elif piece.format == "jsonl":
        yield from records_of_lines(piece, settings, from_json)
    elif piece.format == "json":
        yield from records_of_values(piece, settings, from_json)
    elif piece.format in ("csv", "tsv"):
        yield from records_of_rows(piece, settings, partial(_record, piece, settings))
    else:
        yield piece.record(settings, rule="unsupported_format", evidence=f"rows are read from {SUFFIXES}")
    piece.checked_path()


def _parquet(piece: Piece, settings: FileSettings) -> Iterator[ExtractedRecord]:
    number = 0
    try:
        with open_parquet(piece) as file:
            columns = dict.fromkeys(column_types(file), python_values)
            for number, values, lost in rows_of(file, piece, columns):
                yield _record(piece, settings, number, values, lost)
    except UNREADABLE as error:
        yield piece.unreadable(settings, error, number)


def _record(
    piece: Piece, settings: FileSettings, number: int, values: dict[str, Any], lost: list[str] | None = None
) -> ExtractedRecord:
    content = json.dumps(values, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
    limit = settings.max_document_bytes
    if len(content) > limit:
        return piece.record(settings, number, rule="too_large", value=len(content), threshold=limit)
    evidence = f"not convertible, now null: {', '.join(dict.fromkeys(lost))}"[:200] if lost else None
    return piece.record(settings, number, content=content, unconverted=len(lost or ()), evidence=evidence)
