"""Reads files that are one document each: HTML, plain text, Markdown; compressed or not."""

from __future__ import annotations

from collections.abc import Iterator

from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.readers.base import Piece, Reader
from bessemer.extract.settings import ReaderSettings
from bessemer.extract.streams import BROKEN_STREAM, compression_of, open_decompressed


def read_file(piece: Piece, settings: ReaderSettings) -> Iterator[ExtractedRecord]:
    """One record: the whole file."""
    limit = settings.max_document_bytes
    path = piece.checked_path()
    try:
        with open_decompressed(path) as file:
            content = file.read(limit + 1)
    except BROKEN_STREAM as error:
        if compression_of(path) is None:
            raise
        yield piece.unreadable(settings, error)
        return
    if len(content) > limit:
        yield piece.record(settings, rule="too_large", value=max(piece.size, len(content)), threshold=limit)
    elif piece.format == "html":
        yield piece.record(settings, content=content, kind="page", media_type="text/html")
    else:
        yield piece.record(settings, content=content, kind="text")


HTML = Reader("html", (".html",), read_file, other_suffixes=(".htm", ".xhtml"), work=8)
TEXT = Reader("text", (".txt", ".md", ".rst"), read_file, other_suffixes=(".text", ".markdown"))
