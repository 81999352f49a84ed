"""Fetched pages: WARC 1.1 files, one gzip member per record, with a Parquet index next to them.

`PageWriter` writes fetched pages; `read_pages` reads any WARC, ARC or WET file, from any crawler, and yields
`Damage` in place of an exception (see `warc`). A written file depends only on the pages and their fetch times: record
ids are derived from URL and content.

Pages are stored decoded, as in Common Crawl, so that every reader can use them. The server's transfer headers are kept
under `X-Crawler-` names, and `Content-Length` is the number of stored bytes. The writer and the reader both compute the
payload digest from the decoded bytes, so the identity of a page does not depend on its transfer encoding.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from bessemer.artifacts.http_response import (
    Head,
    header_fields,
    join_chunks,
    parse_head,
    read_payload,
    split_content_type,
    split_head,
    text_of,
)
from bessemer.artifacts.warc import Damage, WarcRecord, read_records

__all__ = ["INDEX", "Damage", "Page", "PageWriter", "payload_digest", "read_page", "read_pages"]

PAGE_KINDS = ("response", "resource", "conversion")
MAX_PAYLOAD_BYTES = 1 << 24
_GZIP_LEVEL = 6
_IS_RESPONSE = re.compile(rb"\s*(?:HTTP/|ICY )", re.IGNORECASE)

INDEX = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),
        pa.field("status", pa.int16(), nullable=False),
        pa.field("content_type", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),
        pa.field("fetched_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("depth", pa.int32(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
    ]
)
"""`data/index.parquet`: the position of each page, sorted by file and offset. `length` is that of the gzip member."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was fetched. `payload` is decoded; `status` is None if the archive has none (WET, FTP)."""

    url: str
    kind: str
    status: int | None
    headers: dict[str, str]
    content_type: str
    charset: str | None
    payload: bytes
    payload_digest: str
    fetched_at: datetime | None
    offset: int


def read_pages(path: Path, *, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> Iterator[Page | Damage]:
    """The pages of a WARC, ARC or WET file, in order; skips requests, metadata and revisits."""
    for item in read_records(path, max_record_bytes=max_payload_bytes + (1 << 20)):
        page = item if isinstance(item, Damage) else _page(item, max_payload_bytes)
        if page is not None:
            yield page


def read_page(path: Path, offset: int, length: int) -> Page:
    """One page of a file that `PageWriter` wrote, by its index entry."""
    with path.open("rb") as file:
        file.seek(offset)
        member = zlib.decompress(file.read(length), zlib.MAX_WBITS | 16)
    head, _, rest = member.partition(b"\r\n\r\n")
    headers = {name.lower(): text_of(value) for name, value in header_fields(head)}
    record = WarcRecord(offset, headers["warc-type"], headers, rest[: int(headers["content-length"])])
    page = _page(record, len(rest))
    assert isinstance(page, Page)
    return page


def _page(record: WarcRecord, limit: int) -> Page | Damage | None:
    url = record.url
    if record.kind not in PAGE_KINDS or record.headers.get("content-type", "").lower().startswith("text/dns"):
        return None
    if record.headers.get("warc-segment-number", "1") != "1" or "warc-segment-total-length" in record.headers:
        return Damage(record.offset, "a record in several segments", url)
    status: int | None = None
    headers: dict[str, str] = {}
    payload = record.block
    media_type, charset = split_content_type(record.headers.get("content-type", ""))
    if record.kind == "response" and _IS_RESPONSE.match(payload):
        head, payload = split_head(payload) or (payload, b"")
        try:
            response = parse_head(head)
            status, headers = response.status, _joined(response)
            body = join_chunks(payload) if response.is_chunked else payload
            read = read_payload(body, response.get("content-encoding"), response.get("content-type"), limit)
        except ValueError as error:
            return Damage(record.offset, str(error), url)
        payload, media_type, charset = read.content, read.media_type, read.charset
    if len(payload) > limit:
        return Damage(record.offset, f"a page of {len(payload)} bytes, more than the limit of {limit}", url)
    return Page(
        url=url,
        kind=record.kind,
        status=status,
        headers=headers,
        content_type=media_type,
        charset=charset,
        payload=payload,
        payload_digest=payload_digest(payload),
        fetched_at=_parse_date(record.headers.get("warc-date", "")),
        offset=record.offset,
    )


def payload_digest(payload: bytes) -> str:
    """`sha1:` and 32 base-32 characters, as archives write it."""
    return "sha1:" + base64.b32encode(hashlib.sha1(payload, usedforsecurity=False).digest()).decode()


def _joined(head: Head) -> dict[str, str]:
    """The headers with names in lower case; repeated headers are joined by commas."""
    return {name: head.get(name) for name in dict.fromkeys(name.lower() for name, _ in head.fields)}


def _parse_date(text: str) -> datetime | None:
    """The time of a WARC date, also shortened (`2014`, `2014-03`) or with fractions, or of an ARC date
    (`20080430204825`)."""
    digits = re.match(r"(\d{4})(?:-?(\d\d))?(?:-?(\d\d))?(?:[T ]?(\d\d))?(?::?(\d\d))?(?::?(\d\d))?(\.\d+)?", text)
    if not digits:
        return None
    year, month, day, hour, minute, second = (int(d) if d else None for d in digits.groups()[:6])
    microsecond = int(float(digits[7] or 0) * 1_000_000)
    try:
        return datetime(year or 1, month or 1, day or 1, hour or 0, minute or 0, second or 0, microsecond, tzinfo=UTC)
    except ValueError:
        return None


class PageWriter:
    """Writes pages to one `.warc.gz`; the caller gives the path (a temporary one) and commits it.

    >>> with PageWriter(path, software="Bessemer/0.1", user_agent="...") as writer:
    ...     offset, length = writer.write(url, 200, "OK", headers, payload, fetched_at)
    """

    def __init__(self, path: Path, *, software: str, user_agent: str) -> None:
        self._file = path.open("wb")
        about = {"software": software, "format": "WARC File Format 1.1", "http-header-user-agent": user_agent}
        self._about = _lines({**about, "robots": "obey"}.items())
        self._begun = False

    def __enter__(self) -> PageWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._file.close()

    def write(
        self,
        url: str,
        status: int,
        reason: str,
        headers: Iterable[tuple[str, str]],
        payload: bytes,
        fetched_at: datetime,
    ) -> tuple[int, int]:
        """Appends one response (`payload` decoded, `headers` as sent); returns the offset and length of its gzip
        member."""
        date = fetched_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        if not self._begun:
            self._begun = True
            self._append("warcinfo", "", date, "application/warc-fields", self._about, payload_digest(self._about))
        status_line = f"HTTP/1.1 {status} {_one_line(reason)}\r\n".encode()
        block = status_line + _lines(_stored_headers(headers, len(payload))) + b"\r\n" + payload
        return self._append("response", url, date, "application/http; msgtype=response", block, payload_digest(payload))

    def _append(self, kind: str, url: str, date: str, content_type: str, block: bytes, digest: str) -> tuple[int, int]:
        headers = {
            "WARC-Type": kind,
            "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {digest} {url}')}>",
            "WARC-Target-URI": url,
            "WARC-Date": date,
            "WARC-Payload-Digest": digest,
            "WARC-Block-Digest": payload_digest(block),
            "Content-Type": content_type,
            "Content-Length": str(len(block)),
        }
        if kind == "warcinfo":
            del headers["WARC-Target-URI"], headers["WARC-Payload-Digest"]
        gzip = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
        member = gzip.compress(b"WARC/1.1\r\n" + _lines(headers.items()) + b"\r\n" + block + b"\r\n\r\n")
        member += gzip.flush()
        offset = self._file.tell()
        self._file.write(member)
        return offset, len(member)


def _stored_headers(headers: Iterable[tuple[str, str]], length: int) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        changed = name.lower() in ("content-encoding", "transfer-encoding", "content-length")
        yield (f"X-Crawler-{name}" if changed else name), value
    yield "Content-Length", str(length)


def _lines(headers: Iterable[tuple[str, str]]) -> bytes:
    return "".join(f"{_one_line(name)}: {_one_line(value)}\r\n" for name, value in headers).encode("utf-8", "replace")


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n\x00]+", " ", text)
