"""Undoes `Content-Encoding` (gzip, deflate, br, zstd), with the tolerance of browsers.

Servers and archives label bodies wrongly: with a charset, a media type or `binary`, or with a coding that was not
applied. Labels that are not codings are ignored, and plain text is returned unchanged. Checksums are not verified, as
in Chrome and Firefox: a page with a wrong checksum is usually complete. The caller's limit bounds the memory.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import pyarrow as pa

GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_CODINGS = ("gzip", "x-gzip", "deflate", "x-deflate", "br", "zstd")
_MAX_CODINGS = 5  # as in curl
_STEP = 1 << 14
_SAMPLE_BYTES = 1024
_EXTRA, _NAME, _COMMENT, _HEADER_CHECKSUM = 4, 8, 16, 2
_BINARY = bytes(code for code in (*range(9), 11, *range(14, 27), *range(28, 32)))
"""The bytes that plain text does not contain (MIME Sniffing Standard, section 3)."""


@dataclass(frozen=True, slots=True)
class Content:
    """Decoded bytes. `complete` is False if the encoded stream ends early or is damaged after these bytes."""

    content: bytes
    complete: bool = True


def decode_content(body: bytes, encodings: str, limit: int) -> Content:
    """Undoes the codings of a Content-Encoding header, in reverse order.

    Raises ValueError if the body decodes to more than `limit` bytes or cannot be decoded, or if there are too many
    codings.
    """
    complete = True
    names = [part.partition(";")[0].strip().lower() for part in encodings.split(",")]
    codings = [name for name in names if name in _CODINGS]
    if len(codings) > _MAX_CODINGS:
        raise ValueError(f"a body with {len(codings)} content codings")
    for encoding in reversed(codings):
        decoded = _decode(body, encoding, limit)
        body, complete = decoded.content, complete and decoded.complete
    return Content(body, complete)


def gunzip(body: bytes, limit: int) -> Content:
    """All members of a gzip stream up to `limit` bytes, and the readable part of a damaged one."""
    parts: list[bytes] = []
    while body.startswith(GZIP):
        begins = _gzip_header(body)
        inflated, rest = _inflate(body[begins:], limit - sum(map(len, parts)))
        parts.append(inflated.content)
        if not inflated.complete or begins == 0:
            return Content(b"".join(parts), complete=False)
        body = rest[8:]  # the checksum and the length
    return Content(b"".join(parts))


def is_plain(body: bytes) -> bool:
    """Whether the beginning of a body contains only bytes that occur in plain text."""
    sample = body[:_SAMPLE_BYTES]
    return len(sample.translate(None, _BINARY)) == len(sample)


def _decode(body: bytes, encoding: str, limit: int) -> Content:
    if not body:
        return Content(body)
    if body.startswith(GZIP):
        decoded = gunzip(body, limit + 1)
    elif body.startswith(_ZSTD):
        decoded = _decompress(body, "zstd", limit)
    elif encoding == "br":
        decoded = _decompress(body, "brotli", limit)
    elif "deflate" in encoding:
        decoded, _ = _inflate(body[2:] if _has_zlib_header(body) else body, limit + 1)
    else:
        return Content(body)
    if len(decoded.content) > limit:
        raise ValueError(f"a body that decompresses to more than the limit of {limit} bytes")
    if not decoded.complete and is_plain(body):
        return Content(body)
    if not decoded.complete and not decoded.content:
        raise ValueError(f"a body that does not decompress ({encoding})")
    return decoded


def _gzip_header(body: bytes) -> int:
    """The length of a gzip member's header (RFC 1952); 0 if it is cut off."""
    if len(body) < 10:
        return 0
    flags, at = body[3], 10
    if flags & _EXTRA:
        at += 2 + int.from_bytes(body[at : at + 2], "little")
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            at = body.find(b"\0", at) + 1
            if at == 0:
                return 0
    return at + (2 if flags & _HEADER_CHECKSUM else 0)


def _has_zlib_header(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0


def _inflate(body: bytes, limit: int) -> tuple[Content, bytes]:
    """At most `limit` bytes of a deflate stream, and the bytes after its end. Damage costs at most the last 16 KiB."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    size = 0
    while body and size < limit and not inflate.eof:
        try:
            part = inflate.decompress(body, min(_STEP, limit - size))
        except zlib.error:
            return Content(b"".join(parts), complete=False), b""
        parts.append(part)
        size += len(part)
        body = inflate.unconsumed_tail
    return Content(b"".join(parts), complete=inflate.eof), inflate.unused_data


def _decompress(body: bytes, codec: str, limit: int) -> Content:
    parts: list[bytes] = []
    size = 0
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
            while size <= limit and (part := stream.read(_STEP)):
                parts.append(part)
                size += len(part)
    except OSError:
        return Content(b"".join(parts), complete=False)
    return Content(b"".join(parts))
