"""Fetched pages: WARC 1.1 files, one gzip member a record, with a Parquet index beside them.

`PageWriter` writes what was fetched; `read_pages` reads any WARC, ARC or WET file, from any crawler, and yields
`Damage` where others raise (see `warc`). A written file depends only on the pages and their fetch times: record
ids are derived from URL and content.

As Common Crawl does, pages are stored decoded, so that every reader can use them: what the server said about the
transfer is kept under `X-Crawler-` names, and `Content-Length` is that of the stored bytes. The payload digest is
that of the decoded bytes, when writing and when reading, so a page has the same identity however it was sent.
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

from bessemer.artifacts.warc import Damage, Record, read_records

__all__ = ["INDEX", "Damage", "Page", "PageWriter", "decode_content", "payload_digest", "read_page", "read_pages"]

PAGE_KINDS = ("response", "resource", "conversion")
MAX_PAYLOAD_BYTES = 1 << 24
_GZIP_LEVEL = 6
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")

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
"""`data/index.parquet`: where each page lies, sorted by file and offset; `length` is that of the gzip member."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was fetched. `payload` is decoded; `status` is None where the archive has none (WET, FTP)."""

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
    """The pages of a WARC, ARC or WET file, in order; requests, metadata and revisits are passed over."""
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
    headers = {name.lower(): value for name, value in _header_lines(head)}
    record = Record(offset, headers["warc-type"], headers, rest[: int(headers["content-length"])])
    page = _page(record, len(rest))
    assert isinstance(page, Page)
    return page


def _page(record: Record, limit: int) -> Page | Damage | None:
    url = record.url
    if record.kind not in PAGE_KINDS or record.headers.get("content-type", "").lower().startswith("text/dns"):
        return None
    if record.headers.get("warc-segment-number", "1") != "1" or "warc-segment-total-length" in record.headers:
        return Damage(record.offset, "a record in several segments", url)
    status: int | None = None
    headers: dict[str, str] = {}
    payload = record.block
    content_type = record.headers.get("content-type", "")
    if record.kind == "response" and payload.startswith(b"HTTP/"):
        status, headers, payload = _split_response(payload)
        content_type = headers.get("content-type", "")
        try:
            payload = _decode_response(headers, payload, limit)
        except ValueError as error:
            return Damage(record.offset, str(error), url)
    if len(payload) > limit:
        return Damage(record.offset, f"a page of {len(payload)} bytes, more than the limit of {limit}", url)
    media_type, charset = split_content_type(content_type)
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


def split_content_type(value: str) -> tuple[str, str | None]:
    """`text/html; charset="UTF-8"` -> (`text/html`, `utf-8`)."""
    media_type, _, parameters = value.partition(";")
    found = re.search(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", parameters, re.IGNORECASE)
    return media_type.strip().lower(), found[1].lower() if found else None


def _split_response(block: bytes) -> tuple[int | None, dict[str, str], bytes]:
    """Status, headers (names in lower case, repeated ones joined by a comma) and body of an HTTP response."""
    end = re.search(rb"\r*\n\r*\n", block)
    head, body = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    first = re.match(rb"HTTP/\S*[ \t]+(\d{3})\b", head)
    headers: dict[str, str] = {}
    for name, value in _header_lines(head):
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(first[1]) if first else None, headers, body


def _header_lines(head: bytes) -> Iterator[tuple[str, str]]:
    for line in re.sub(rb"\r*\n[ \t]+", b" ", head).splitlines()[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            yield name.decode("latin-1").strip(), _decode_header(value.strip())


def _decode_header(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _decode_response(headers: dict[str, str], body: bytes, limit: int) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _join_chunks(body)
    return decode_content(body, headers.get("content-encoding", ""), limit)


def _join_chunks(body: bytes) -> bytes:
    """Undoes `Transfer-Encoding: chunked`; what is not in chunks, as many archives have it, stays as it is."""
    parts: list[bytes] = []
    at = 0
    while size := _CHUNK_SIZE.match(body, at):
        part = body[size.end() : size.end() + int(size[1], 16)]
        if not part:
            return b"".join(parts)
        parts.append(part)
        at = size.end() + len(part)
        if body[at : at + 2] not in (b"\r\n", b""):
            return body if len(parts) == 1 else b"".join(parts) + body[at:]
        at += 2
    return b"".join(parts) + body[at:]


def decode_content(body: bytes, encodings: str, limit: int) -> bytes:
    """Undoes a Content-Encoding header (`gzip`, `deflate`, `br`, `zstd`, or several).

    A body that is not encoded at all, which archives and careless servers have often, stays as it is.
    Raises ValueError for one that breaks off, cannot be decoded, or decodes to more than `limit` bytes.
    """
    for encoding in reversed([part.strip().lower() for part in encodings.split(",")]):
        if encoding in ("gzip", "x-gzip"):
            body = _inflate(body, zlib.MAX_WBITS | 16, limit) if body.startswith(b"\x1f\x8b") else body
        elif encoding == "deflate":
            body = _inflate(body, zlib.MAX_WBITS if _has_zlib_header(body) else -zlib.MAX_WBITS, limit)
        elif encoding == "br":
            body = _decompress(body, "brotli", limit)
        elif encoding == "zstd":
            body = _decompress(body, "zstd", limit) if body.startswith(b"\x28\xb5\x2f\xfd") else body
        elif encoding not in ("", "identity", "none", "utf-8", "utf8"):
            raise ValueError(f"a content encoding that is not known, `{encoding[:40]}`")
    return body


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0


def _inflate(body: bytes, window_bits: int, limit: int) -> bytes:
    """All gzip members, or the zlib or raw stream; what follows the end is ignored, as browsers do."""
    parts: list[bytes] = []
    size = 0
    while body:
        inflate = zlib.decompressobj(window_bits)
        try:
            part = inflate.decompress(body, limit - size + 1)
        except zlib.error as error:
            if window_bits < 0 and not parts:
                return body  # labelled `deflate` but not compressed
            raise ValueError(f"a body that does not decompress ({error})") from error
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ValueError(f"a body that decompresses to more than the limit of {limit} bytes")
        if not inflate.eof:
            raise ValueError("a compressed body that breaks off")
        body = inflate.unused_data if inflate.unused_data.startswith(b"\x1f\x8b") else b""
    return b"".join(parts)


def _decompress(body: bytes, codec: str, limit: int) -> bytes:
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
            decoded: bytes = stream.read(limit + 1)
    except OSError as error:
        raise ValueError(f"a body that does not decompress ({codec})") from error
    if len(decoded) > limit:
        raise ValueError(f"a body that decompresses to more than the limit of {limit} bytes")
    return decoded


def _parse_date(text: str) -> datetime | None:
    """WARC dates, also shortened (`2014`, `2014-03`) or with fractions, and ARC dates (`20080430204825`)."""
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
        """Appends one response (`payload` decoded, `headers` as sent); the offset and length of its gzip member."""
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
