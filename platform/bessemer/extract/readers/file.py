"""Files that are one document each: HTML, plain text, Markdown; compressed or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from bessemer.extract.formats import BROKEN_STREAM, compression_of, open_decompressed
from bessemer.extract.readers.base import Piece
from bessemer.extract.records import Record
from bessemer.extract.settings import ReaderSettings


def read_file(piece: Piece, settings: ReaderSettings) -> Iterator[Record]:
    """One record: the whole file."""
    if piece.format is None:
        suffix = "".join(PurePosixPath(piece.relative).suffixes[-2:])
        yield piece.record(settings, rule="unsupported_format", evidence=suffix or "a name without a suffix")
        return
    limit = settings.max_document_bytes
    content = b""
    try:
        with open_decompressed(piece.checked_path()) as file:
            content = file.read(limit + 1)
    except BROKEN_STREAM as error:
        if compression_of(piece.relative) is None:
            raise
        yield piece.record(settings, rule="damaged_record", evidence=str(error)[:200])
        return
    if len(content) > limit:
        yield piece.record(settings, rule="too_large", value=max(piece.size, len(content)), threshold=limit)
    elif piece.format == "html":
        yield piece.record(settings, content=content, kind="page", media_type="text/html")
    else:
        yield piece.record(settings, content=content, kind="text")
