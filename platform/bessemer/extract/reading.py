"""Reads the records of a piece of a file with the reader of its format: documents, or rows of any columns.

A `Piece` is a file, or the part of a large file that one unit of work reads. A record's id consists of the source, the
file's relative path and the record's number in the file (a line, a row, a byte offset in an archive). So the id does
not depend on the folder's location or on the cuts, and repeated pages in an archive have different ids.
"""

from __future__ import annotations

from collections.abc import Iterator

from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.formats import ROW_SUFFIXES, without_reader
from bessemer.extract.readers import READERS
from bessemer.extract.readers.base import Piece
from bessemer.extract.settings import FileSettings, ReaderSettings


def read(piece: Piece, settings: ReaderSettings) -> Iterator[ExtractedRecord]:
    """Yields the documents of a piece in order, at least one record for a whole file. Memory: a few times
    `max_document_bytes`.

    Raises InputChanged, at the latest after the last record, if the file has changed since it was hashed.
    """
    if piece.format is None:
        yield piece.record(settings, rule="unsupported_format", evidence=without_reader(piece.relative))
        piece.checked_path()
        return
    empty = True
    for record in READERS[piece.format].read(piece, settings):
        empty = False
        yield record
    if empty and piece.is_whole:
        yield piece.record(settings, rule="empty_text", evidence="a file without records")
    piece.checked_path()


def read_rows(piece: Piece, settings: FileSettings) -> Iterator[ExtractedRecord]:
    """Yields the rows of a piece in order. The content of a record is the row as JSON, which the stage interprets.

    A record's number counts lines, elements or rows in the file, from 1. Raises InputChanged, at the latest after the
    last row, if the file has changed since it was hashed.
    """
    if piece.format is None or (rows := READERS[piece.format].rows) is None:
        yield piece.record(settings, rule="unsupported_format", evidence=f"rows are read from {ROW_SUFFIXES}")
    else:
        yield from rows(piece, settings)
    piece.checked_path()
