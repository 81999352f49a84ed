"""Reads JSON lines: one record per line. A malformed line is one removed record, and reading continues after it.

A line longer than the limit is skipped and not kept in memory. An uncompressed UTF-8 file may be read in ranges that
begin and end at line ends (`split_lines`). A compressed file or a file in UTF-16 is read as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from bessemer.artifacts.ledger import Removed
from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.readers.base import Cut, Piece, Reader, parse_json, record_of_fields, text_of, value_record
from bessemer.extract.settings import FileSettings, ReaderSettings
from bessemer.extract.streams import BROKEN_STREAM, compression_of, is_seekable_utf8, open_utf8

_CHUNK = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_lines(piece: Piece, settings: ReaderSettings) -> Iterator[ExtractedRecord]:
    """Yields the records of a range of lines. A record's number is the number of its line in the file, from 1."""
    return records_of_lines(piece, settings, partial(json_record, piece, settings, "line"))


def _rows(piece: Piece, settings: FileSettings) -> Iterator[ExtractedRecord]:
    return records_of_lines(piece, settings, partial(value_record, piece, settings))


def _cuts(path: Path, target_bytes: int) -> list[Cut]:
    if not is_seekable_utf8(path):
        return []
    return [Cut(start, end, first, end - start) for start, end, first in split_lines(path, target_bytes)]


def records_of_lines(
    piece: Piece, settings: FileSettings, record: Callable[[int, bytes], ExtractedRecord]
) -> Iterator[ExtractedRecord]:
    """Yields `record(number, line)` for every line that is not blank, and a removed record for each unreadable line."""
    number = piece.first_record - 1
    path = piece.checked_path()
    try:
        with path.open("rb") if piece.start else open_utf8(path) as file:
            if piece.start:
                file.seek(piece.start)
            for line, size in _lines(file, piece, settings.max_document_bytes):
                number += 1
                if size > settings.max_document_bytes:
                    threshold = settings.max_document_bytes
                    yield piece.record(settings, number, rule="too_large", value=size, threshold=threshold)
                elif line and not line.isspace():
                    yield record(number, line)
    except BROKEN_STREAM as error:
        if compression_of(path) is None:
            raise
        yield piece.unreadable(settings, error, number)


def json_record(piece: Piece, settings: ReaderSettings, place: str, number: int, value: bytes) -> ExtractedRecord:
    """The record of one JSON object. `place` is the unit that `number` counts, such as `line`."""
    try:
        values = parse_json(value)
        if not isinstance(values, dict):
            raise Removed("malformed_json", evidence=f"a {type(values).__name__}, not an object")
        text = text_of(values, settings.fields.text, is_utf8=_is_utf8(value))
    except Removed as refused:
        evidence = f"{place} {number}: {refused.evidence}"
        return piece.record(settings, number, rule=refused.rule, evidence=evidence)
    return record_of_fields(piece, settings, number, text, values)


def split_lines(path: Path, target_bytes: int) -> list[tuple[int, int, int]]:
    """Divides a file into ranges of whole lines of about `target_bytes`, in one pass. Returns (start, end, number of
    the first line) of each."""
    ranges: list[tuple[int, int, int]] = []
    start = position = 0
    first = number = 1
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            counted = 0
            while cut := chunk.find(b"\n", max(0, start + target_bytes - position - 1)) + 1:
                number += chunk.count(b"\n", counted, cut)
                counted = cut
                ranges.append((start, position + cut, first))
                start, first = position + cut, number
            number += chunk.count(b"\n", counted)
            position += len(chunk)
    if position > start:
        ranges.append((start, position, first))
    return ranges


def _lines(file: IO[bytes], piece: Piece, limit: int) -> Iterator[tuple[bytes, int]]:
    """Yields (line, its size). The line is empty if its size exceeds the limit."""
    position = piece.start
    while piece.end is None or position < piece.end:
        line = file.readline(limit + 1)
        if not line:
            return
        size = len(line)
        if position == 0:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if size > limit and not line.endswith(b"\n"):
            while rest := file.readline(_CHUNK):
                size += len(rest)
                if rest.endswith(b"\n"):
                    break
            line = b""
        position += size
        yield line, size


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


JSONL = Reader("jsonl", (".jsonl",), read_lines, _rows, _cuts, other_suffixes=(".ndjson",))
