"""Reads WARC, ARC and WET files of any crawler: one record per page, and one per place that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from bessemer.artifacts.pages import Damage, Page, read_pages
from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.plain import well_formed
from bessemer.extract.readers.base import Piece, Reader
from bessemer.extract.settings import ReaderSettings


def read_archive(piece: Piece, settings: ReaderSettings) -> Iterator[ExtractedRecord]:
    """Yields the pages of an archive. A record's number is its byte offset, with a count if several records have the
    same offset.

    If nothing in the file can be read, yields one record for the failed file.
    """
    items = read_pages(piece.checked_path(), max_payload_bytes=settings.max_document_bytes)
    first = next(items, None)
    if isinstance(first, Damage) and first.offset == 0 and not first.url:
        second = next(items, None)
        if second is None:
            yield piece.unreadable(settings, first.reason)
            return
        items = chain([first, second], items)
    elif first is not None:
        items = chain([first], items)
    last, repeats = -1, 0
    for item in items:
        repeats = repeats + 1 if item.offset == last else 0
        last = item.offset
        place = f"{item.offset}.{repeats}" if repeats else str(item.offset)
        if isinstance(item, Damage):
            named = {"url": item.url} if item.url else {}
            yield piece.record(settings, place, rule="damaged_record", evidence=item.reason[:200], **named)
            continue
        yield piece.record(settings, place, **page_values(item, settings.source))


def page_values(page: Page, source: str | None) -> dict[str, Any]:
    """The fields of a page's record. If `source` is None, the record's source is the host."""
    return {
        "url": well_formed(page.url),
        "source": source or host_of(page.url) or "archive",
        "content": page.payload,
        "media_type": page.content_type,
        "charset": page.charset,
        "status": page.status,
        "fetched_at": page.fetched_at,
    }


def host_of(url: str) -> str:
    try:
        return well_formed(urlsplit(url).hostname or "")
    except ValueError:
        return ""


WARC = Reader("warc", (".warc", ".arc", ".wet"), read_archive, magic=b"WARC/", work=8)
