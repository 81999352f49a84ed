"""HTTP responses as browsers accept them: the head, the media type, the chunks, and the payload.

Clients such as aiohttp and h11 refuse responses that violate the HTTP standard, as a proxy must. A crawler and an
archive reader need the page instead, so this module reads every head that Chrome or Firefox reads. All functions are
pure. The crawler and the archive reader share them, so both get the same page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bessemer.artifacts.content_coding import GZIP, decode_content, gunzip, is_plain

_STATUS_LINE = re.compile(rb"\s*(HTTP|ICY)(?:/(\d+)(?:\.(\d+))?)?[ \t]+(\d{3})(?!\d)[ \t]*([^\r\n]*)", re.IGNORECASE)
_BLANK_LINE = re.compile(rb"\n\r*\n")
_FOLDED = re.compile(rb"\n[ \t]+")
_BLANKS = bytes.maketrans(b"\0\r", b"  ")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_BETWEEN_COMMAS = re.compile(r'(?:"[^"]*"|[^,])+')
_ESSENCE = re.compile(r"""[\s"']*([\w!#$&^.+-]+/[\w!#$&^.+-]+)""", re.ASCII)
_CHARSET = re.compile(r"""charset\s*+=\s*+["']?\s*+([^\s"';,]+)""", re.IGNORECASE)
_UNKNOWN_TYPES = ("", "unknown/unknown", "application/unknown")
_HTML = re.compile(
    rb"\s*<(?:!--|(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[\s>])",
    re.IGNORECASE,
)
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe")
_SNIFFED_BYTES = 1445
_END_OF_PAGE = re.compile(rb"</(?:html|body)\s*>", re.IGNORECASE)
_END_BYTES = 1024
_MAX_LAYERS = 4


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers; `fields` are in order, with the values as bytes."""

    status: int
    reason: str
    fields: tuple[tuple[str, bytes], ...]
    version: tuple[int, int] = (1, 1)

    def get(self, name: str) -> str:
        """All values of a header, joined by a comma; empty if it is absent."""
        return ", ".join(text_of(value) for key, value in self.fields if key.lower() == name)

    def texts(self) -> list[tuple[str, str]]:
        return [(name, text_of(value)) for name, value in self.fields]

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.get("transfer-encoding").lower()

    def content_length(self) -> int | None:
        """The length of the body; None if it is absent, malformed, or overruled by `chunked`.

        Raises ValueError if the headers give different lengths.
        """
        if self.is_chunked:
            return None
        lengths = {part.strip() for part in self.get("content-length").split(",")}
        known = {int(length) for length in lengths if length.isascii() and length.isdecimal() and len(length) < 19}
        if len(known) > 1:
            raise ValueError("several lengths that disagree")
        return known.pop() if known and len(lengths) == 1 else None


@dataclass(frozen=True, slots=True)
class Payload:
    """The decoded body of a response; `media_type` is sniffed if the header names none."""

    content: bytes
    media_type: str
    charset: str | None


def split_head(received: bytes | bytearray, start: int = 0) -> tuple[bytes, bytes] | None:
    """(head, rest) of a response; None if the blank line is missing at or after `start`."""
    end = _BLANK_LINE.search(received, start)
    return (bytes(received[: end.start()]), bytes(received[end.end() :])) if end else None


def parse_head(head: bytes) -> Head:
    """Raises ValueError if the first line is not a status line."""
    first = _STATUS_LINE.match(head)
    if first is None:
        line = head[:60].decode("latin-1").strip().partition("\n")[0]
        raise ValueError(f"not an HTTP response: `{line}`")
    version = (int(first[2] or 1), int(first[3] or 0)) if first[1].upper() == b"HTTP" else (1, 0)
    return Head(int(first[4]), text_of(first[5].strip()), tuple(header_fields(head)), version)


def header_fields(head: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, value) of each header line after the first line; folded lines are joined."""
    for line in _FOLDED.sub(b" ", head.lstrip()).split(b"\n")[1:]:
        name, colon, value = line.translate(_BLANKS).partition(b":")
        if colon and name.strip():
            yield name.decode("latin-1").strip(), value.strip()


def text_of(value: bytes) -> str:
    """A header's value: UTF-8 if it is valid, else Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def split_content_type(value: str) -> tuple[str, str | None]:
    """(media type, charset) of a Content-Type header, also of a malformed one; the type is empty if the header has
    none.

    If there are several values, the last one with a type counts (Fetch Standard).

    >>> split_content_type('text/html; charset="UTF-8"'), split_content_type("text/html charset=koi8-r")
    (('text/html', 'utf-8'), ('text/html', 'koi8-r'))
    """
    media_type, charset = "", None
    for part in _BETWEEN_COMMAS.findall(value):
        essence, label = _ESSENCE.match(part), _CHARSET.search(part)
        if essence and essence[1].lower() != media_type:
            media_type, charset = essence[1].lower(), None if media_type else charset
        if label:
            charset = label[1].lower()
    return media_type, charset


def read_payload(body: bytes, encodings: str, content_type: str, limit: int, *, complete: bool = True) -> Payload:
    """The payload of a body, by its Content-Encoding and Content-Type headers.

    A body can be cut off in the transfer (not `complete`) or within its coding. It is accepted if it ends like a whole
    HTML page. Otherwise raises IncompleteBody. Raises ValueError if the body cannot be decoded, or decodes to more than
    `limit` bytes.
    """
    media_type, charset = split_content_type(content_type)
    decoded = decode_content(body, encodings, limit)
    content = decoded.content
    if not (complete and decoded.complete) and not is_whole_page(content):
        raise IncompleteBody(f"a body that breaks off after {len(body)} bytes")
    layers = 0
    while content.startswith(GZIP) and media_type.startswith("text/"):  # compressed without a label, or twice
        inner = gunzip(content, limit + 1)
        if not inner.complete or len(inner.content) > limit:
            break
        layers += 1
        if layers > _MAX_LAYERS:  # some gzip files decompress to themselves
            raise ValueError(f"a body that is compressed more than {_MAX_LAYERS} times")
        content = inner.content
    if media_type in _UNKNOWN_TYPES:
        media_type = sniff_media_type(content) or media_type
    return Payload(content, media_type, charset)


class IncompleteBody(ValueError):
    """A body that ends before it should."""


def is_whole_page(content: bytes | bytearray) -> bool:
    """Whether the last bytes close an HTML page."""
    return _END_OF_PAGE.search(content, max(0, len(content) - _END_BYTES)) is not None


def sniff_media_type(content: bytes) -> str:
    """`text/html`, `text/plain`, or an empty string (MIME Sniffing Standard, section 7.1; other types are not
    needed)."""
    beginning = content[:_SNIFFED_BYTES]
    if _HTML.match(beginning.removeprefix(_BYTE_ORDER_MARKS[0])):
        return "text/html"
    if beginning.startswith(_BYTE_ORDER_MARKS):
        return "text/html" if _HTML.match(beginning[2:].replace(b"\0", b"")) else "text/plain"
    text = beginning and is_plain(beginning) and not beginning.startswith((b"%PDF-", b"%!PS", b"<?xml"))
    return "text/plain" if text else ""


def join_chunks(body: bytes) -> bytes:
    """Undoes `Transfer-Encoding: chunked`. Returns a body without chunks unchanged; many archives contain such
    bodies."""
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


def chunk_size(line: bytes) -> int | None:
    """The size in a chunk's first line; None if the line has no valid size."""
    found = _CHUNK_SIZE.fullmatch(line)
    return int(found[1], 16) if found else None
