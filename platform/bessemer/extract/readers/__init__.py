"""Readers, one module per format, that turn a piece of a file into records. No content of a file makes them raise.

A `Piece` is a file, or the part of a large file that one unit of work reads. A record's id consists of the source, the
file's relative path and the record's number in the file (a line, a row, a byte offset in an archive). So the id does
not depend on the folder's location or on the cuts, and repeated pages in an archive have different ids.
"""

from __future__ import annotations

from collections.abc import Iterator

from bessemer.extract.readers.archive import read_archive
from bessemer.extract.readers.base import Piece
from bessemer.extract.readers.file import read_file
from bessemer.extract.readers.lines import read_lines
from bessemer.extract.readers.parquet import read_parquet
from bessemer.extract.readers.separated import read_separated
from bessemer.extract.readers.values import read_values
from bessemer.extract.records import ExtractedRecord
from bessemer.extract.settings import ReaderSettings

__all__ = ["Piece", "read"]

_READERS = {
    "html": read_file,
    "text": read_file,
    "jsonl": read_lines,
    "json": read_values,
    "csv": read_separated,
    "tsv": read_separated,
    "parquet": read_parquet,
    "warc": read_archive,
    None: read_file,
}


def read(piece: Piece, settings: ReaderSettings) -> Iterator[ExtractedRecord]:
    """Yields the records of a piece in order, at least one for a whole file. Memory: a few times `max_document_bytes`.

    Raises InputChanged, at the latest after the last record, if the file has changed since it was hashed.
    """
    empty = True
    for record in _READERS[piece.format](piece, settings):
        empty = False
        yield record
    if empty and piece.is_whole:
        yield piece.record(settings, rule="empty_text", evidence="a file without records")
    piece.checked_path()
