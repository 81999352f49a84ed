"""How input files are cut into units of work: by size, in the order of their names.

Small files share a unit. A large file of JSON lines is cut at line ends and a large Parquet file between row groups;
everything else is read as a whole. Units depend on the files' names and content alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bessemer.extract.formats import Format, compression_of, format_of
from bessemer.extract.inputs import InputFile
from bessemer.extract.readers.base import Piece
from bessemer.extract.readers.lines import split_lines
from bessemer.extract.readers.parquet import split_row_groups

UNIT_BYTES = 32 << 20
UNIT_PIECES = 2048


def cut_into_units(
    files: Sequence[InputFile], format: Format | None = None, *, unit_bytes: int = UNIT_BYTES
) -> list[list[Piece]]:
    """Pieces of files, grouped into units of about `unit_bytes`; `format` is for all files, else by their names."""
    units: list[list[Piece]] = []
    size = 0
    for piece in (piece for file in files for piece in _pieces(file, format, unit_bytes)):
        if not units or size + piece.weight > unit_bytes or len(units[-1]) >= UNIT_PIECES:
            units.append([])
            size = 0
        units[-1].append(piece)
        size += piece.weight
    return units


def _pieces(file: InputFile, format: Format | None, unit_bytes: int) -> Iterator[Piece]:
    piece = Piece(file.relative, file.path, format or format_of(file.relative), file.size, file.size)
    if file.size <= unit_bytes:
        yield piece
    elif piece.format == "jsonl" and compression_of(file.relative) is None:
        for start, end, first in split_lines(Path(file.path), unit_bytes):
            yield replace(piece, start=start, end=end, first_record=first, weight=end - start)
    elif piece.format == "parquet" and len(ranges := split_row_groups(file.path, unit_bytes)) > 1:
        for first_group, end_group in ranges:
            yield replace(piece, start=first_group, end=end_group, weight=file.size // len(ranges))
    else:
        yield piece
