"""Reads JSON files without lines: one record per element of an array, or per object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.json_values import CutOff, json_values
from bessemer.extract.readers.base import Piece, Reader, value_record
from bessemer.extract.readers.lines import json_record
from bessemer.extract.settings import FileSettings, ReaderSettings
from bessemer.extract.streams import BROKEN_STREAM, compression_of, open_utf8


def read_values(piece: Piece, settings: ReaderSettings) -> Iterator[ExtractedRecord]:
    """Yields the records of a JSON file. A record's number counts elements or objects in the file, from 1."""
    return records_of_values(piece, settings, partial(json_record, piece, settings, "element"))


def _rows(piece: Piece, settings: FileSettings) -> Iterator[ExtractedRecord]:
    return records_of_values(piece, settings, partial(value_record, piece, settings))


def records_of_values(
    piece: Piece, settings: FileSettings, record: Callable[[int, bytes], ExtractedRecord]
) -> Iterator[ExtractedRecord]:
    """Yields `record(number, value)` for every value, and a removed record for each value that is too large."""
    number = 0
    path, limit = piece.checked_path(), settings.max_document_bytes
    try:
        with open_utf8(path) as file:
            for number, (value, size) in enumerate(json_values(file, limit), start=1):
                if size > limit:
                    yield piece.record(settings, number, rule="too_large", value=size, threshold=limit)
                else:
                    yield record(number, value)
    except CutOff as error:
        yield piece.unreadable(settings, error, number)
    except BROKEN_STREAM as error:
        if compression_of(path) is None:
            raise
        yield piece.unreadable(settings, error, number)


JSON = Reader("json", (".json",), read_values, _rows)
