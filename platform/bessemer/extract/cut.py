"""Cuts input files into units of work, by size and in the order of their names.

Small files share a unit. A large file of JSON lines is cut at line ends, and a large Parquet file between row groups.
Other files are not cut. Units depend only on the names and the content of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bessemer.extract.formats import Format, find_format
from bessemer.extract.inputs import InputFile
from bessemer.extract.readers.base import Piece
from bessemer.extract.readers.lines import split_lines
from bessemer.extract.readers.parquet import split_row_groups
from bessemer.extract.streams import is_seekable_utf8

UNIT_BYTES = 32 << 20
FEWEST_UNITS = 8  # so that several processes can share a small corpus
UNIT_PIECES = 2048
_WORK: dict[Format | None, int] = {"html": 8, "warc": 8}
"""One byte of a page takes about as much work as this many bytes of text. Does not apply to compressed archives."""


def cut_into_units(
    files: Sequence[InputFile], format: Format | None = None, *, unit_bytes: int | None = None
) -> list[list[Piece]]:
    """Divides files into units of similar size. `format` applies to all files; if None, `find_format` decides per file.

    A unit has `unit_bytes` of text, or an eighth of that if it has pages. By default `unit_bytes` is 32 MiB, or an
    eighth of the total if that is less.
    """
    formats = [format or find_format(file) for file in files]
    if unit_bytes is None:
        total = sum(file.size * _WORK.get(kind, 1) for file, kind in zip(files, formats, strict=True))
        unit_bytes = max(1 << 20, min(UNIT_BYTES, -(-total // FEWEST_UNITS)))
    units: list[list[Piece]] = []
    size = 0
    for file, kind in zip(files, formats, strict=True):
        for piece in _pieces(file, kind, unit_bytes):
            if not units or size + piece.weight > unit_bytes or len(units[-1]) >= UNIT_PIECES:
                units.append([])
                size = 0
            units[-1].append(piece)
            size += piece.weight
    return units


def _pieces(file: InputFile, format: Format | None, unit_bytes: int) -> Iterator[Piece]:
    piece = Piece(file.relative, file.path, format, file.size, file.size * _WORK.get(format, 1), state=file.state)
    if file.size <= unit_bytes:
        yield piece
    elif format == "jsonl" and is_seekable_utf8(Path(file.path)):
        for start, end, first in split_lines(Path(file.path), unit_bytes):
            yield replace(piece, start=start, end=end, first_record=first, weight=end - start)
    elif format == "parquet" and len(ranges := split_row_groups(file.path, unit_bytes)) > 1:
        for first_group, end_group in ranges:
            yield replace(piece, start=first_group, end=end_group, weight=file.size // len(ranges))
    else:
        yield piece
