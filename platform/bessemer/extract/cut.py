"""Cuts input files into units of work, by size and in the order of their names.

Small files share a unit. A large file of JSON lines is cut at line ends, and a large Parquet file between row groups.
Other files are not cut. Units depend only on the names and the content of the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bessemer.extract.formats import find_format
from bessemer.extract.inputs import InputFile
from bessemer.extract.readers import READERS
from bessemer.extract.readers.base import Piece

UNIT_BYTES = 32 << 20
FEWEST_UNITS = 8  # so that several processes can share a small corpus
UNIT_PIECES = 2048


def cut_into_units(
    files: Sequence[InputFile], format: str | None = None, *, unit_bytes: int | None = None
) -> list[list[Piece]]:
    """Divides files into units of similar size. `format` applies to all files; if None, `find_format` decides per file.

    A unit has `unit_bytes` of text, or an eighth of that if it has pages. By default `unit_bytes` is 32 MiB, or an
    eighth of the total if that is less.
    """
    formats = [format or find_format(file) for file in files]
    if unit_bytes is None:
        total = sum(file.size * _work(kind) for file, kind in zip(files, formats, strict=True))
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


def _pieces(file: InputFile, format: str | None, unit_bytes: int) -> Iterator[Piece]:
    piece = Piece(file.relative, file.path, format, file.size, file.size * _work(format), state=file.state)
    cuts = READERS[format].split(Path(file.path), unit_bytes) if format and file.size > unit_bytes else ()
    for cut in cuts:
        yield replace(piece, **cut._asdict())
    if not cuts:
        yield piece


def _work(format: str | None) -> int:
    return READERS[format].work if format else 1
