"""Readers, one file per format: from a piece of a file to records. None raises for the content of a file.

`Piece` is a file, or the part of a large one that a unit of work reads alone. A record's id is made of the source, the
file's relative path and the record's number in the file (a line, a row, a byte offset in an archive), so it does not
depend on the folder's location or on the cuts, and repeated pages in an archive have different ids.
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
from bessemer.extract.records import Record
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


def read(piece: Piece, settings: ReaderSettings) -> Iterator[Record]:
    """The records of a piece in order, at least one if it is a whole file. Memory: a few times `max_document_bytes`.

    Raises InputChanged, at the end at the latest, if the file is not as it was when it was hashed.
    """
    empty = True
    for record in _READERS[piece.format](piece, settings):
        empty = False
        yield record
    if empty and piece.is_whole:
        yield piece.record(settings, rule="empty_text", evidence="a file without records")
    piece.checked_path()
