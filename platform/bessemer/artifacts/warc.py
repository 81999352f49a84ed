"""Records of WARC and ARC files, damaged ones included.

Real archives are cut off, partly overwritten, or contain wrong lengths. A reader that stops at the first damage loses
the rest of the file. This reader never raises because of a file's content. For an unreadable record it yields `Damage`
and continues at the next record (a gzip member, a line `WARC/1.x`, an ARC header line). It makes one pass over a
memory-mapped file and holds one record in memory. It skips records larger than `max_record_bytes` without holding them.
A gzip file may have one member per record, as the standard recommends, or member boundaries anywhere.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 18
_LINE_LIMIT = 1 << 16
_HEADER_LINES_LIMIT = 1000
_GZIP_MAGIC = b"\x1f\x8b\x08"
_WARC_LINE = rb"WARC/[01]\.\d+[ \t\r]*\n"
_ARC_LINE = (
    rb"(?P<url>[a-z][a-z0-9+.-]{1,15}:[^\r\n]{0,8000}) (?P<address>[0-9a-f.:]+|-) (?P<date>\d{12,17}|-|null) "
    rb"(?P<type>[^\r\n ]{1,200})(?: [^\r\n]{1,200})? (?P<length>\d{1,18})[ \t\r]*\n"
)
_RECORD_START = re.compile(rb"(?P<warc>" + _WARC_LINE + rb")|" + _ARC_LINE, re.IGNORECASE)
_LATER_START = re.compile(rb"\n(?:" + _WARC_LINE + rb"|" + _ARC_LINE + rb")", re.IGNORECASE)
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive (WACZ?), unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd, decompress it first",
    b"\x04\x22\x4d\x18": "compressed with lz4, decompress it first",
    b"BZh": "compressed with bzip2, decompress it first",
}


@dataclass(frozen=True, slots=True)
class WarcRecord:
    """One record. `kind` is its WARC type (`response` for ARC documents); header names are lower case."""

    offset: int
    kind: str
    headers: dict[str, str]
    block: bytes

    @property
    def url(self) -> str:
        return target_url(self.headers)


@dataclass(frozen=True, slots=True)
class Damage:
    """An unreadable place in a file, and the reason. `url` is empty if it is unknown."""

    offset: int
    reason: str
    url: str = ""


def target_url(headers: dict[str, str]) -> str:
    """The record's URL; early versions of wget wrote it in angle brackets."""
    return headers.get("warc-target-uri", "").removeprefix("<").removesuffix(">")


def read_records(path: Path, *, max_record_bytes: int = 1 << 26) -> Iterator[WarcRecord | Damage]:
    """Every record of a WARC or ARC file, plain or gzip, in order. Raises only if the file cannot be opened."""
    if not path.stat().st_size:
        yield Damage(0, "an empty file")
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for magic, reason in _OTHER_FORMATS.items():
            if content[: len(magic)] == magic:
                yield Damage(0, f"no WARC or ARC file but {reason}")
                return
        plain = bool(_RECORD_START.match(content)) or (
            content[:2] != _GZIP_MAGIC[:2] and _next_member(content, 0) is None
        )
        pieces = _plain(content) if plain else _members(content)
        nothing = True
        for item in _records(_Stream(pieces), max_record_bytes):
            nothing = False
            yield item
        if nothing:
            yield Damage(0, "an empty file, compressed")


def _records(stream: _Stream, limit: int) -> Iterator[WarcRecord | Damage]:
    begun = False
    while True:
        stream.skip_line_ends()
        offset = stream.offset
        line = stream.line()
        if not line and not stream.broken:
            return
        start = _RECORD_START.match(line)
        if not start:
            yield Damage(offset, stream.broken or (_NOT_A_RECORD if begun else _NOT_AN_ARCHIVE))
            stream.seek_record()
            continue
        begun = True
        headers = _warc_headers(stream) if start["warc"] else _arc_headers(start)
        if headers is None:
            yield Damage(offset, stream.broken or "a record header that does not end")
            stream.seek_record()
            continue
        url, length = target_url(headers), headers.get("content-length", "")
        if not length.isdecimal():
            yield Damage(offset, "a record without a length", url)
        elif int(length) > limit:
            complete = stream.skip(int(length))
            yield Damage(offset, _too_large(int(length), limit) if complete else stream.broken or _CUT, url)
        else:
            block = stream.block(int(length))
            if len(block) < int(length):
                yield Damage(offset, stream.broken or _CUT, url)
                stream.push_back(block)
                stream.seek_record()
            elif stream.skip_line_ends() or stream.at_record_or_end():
                yield WarcRecord(offset, headers.get("warc-type", "").lower(), headers, block)
            else:
                yield Damage(offset, "a record whose length is wrong", url)
                stream.push_back(block)
                stream.seek_record()


_NOT_AN_ARCHIVE = "a file that does not begin with a WARC or ARC record"
_NOT_A_RECORD = "something that is not a record"
_CUT = "a record that is cut off"


def _too_large(length: int, limit: int) -> str:
    return f"a record of {length} bytes, more than the limit of {limit}"


def _warc_headers(stream: _Stream) -> dict[str, str] | None:
    """The header lines up to the empty line; None if the empty line is missing."""
    headers: dict[str, str] = {}
    last = ""
    for _ in range(_HEADER_LINES_LIMIT):
        line = stream.line()
        if not line.endswith(b"\n"):
            return None
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text.strip():
            return headers
        name, colon, value = text.partition(":")
        if text[0] in " \t" and last:
            headers[last] = f"{headers[last]} {text.strip()}".strip()
        elif colon:
            last = name.strip().lower()
            headers.setdefault(last, value.strip())
    return None


def _arc_headers(start: re.Match[bytes]) -> dict[str, str]:
    """The fields of an ARC header line as WARC headers."""
    url, date, kind = (start[name].decode("utf-8", "replace") for name in ("url", "date", "type"))
    return {
        "warc-type": "warcinfo" if url.startswith("filedesc:") else "response",
        "warc-target-uri": url,
        "warc-date": date,
        "content-type": kind,
        "content-length": start["length"].decode(),
    }


@dataclass(frozen=True, slots=True)
class _Piece:
    """Decompressed bytes and their offset in the file (if `compressed`, the offset of their gzip member)."""

    offset: int
    data: bytes
    compressed: bool
    broken: str = ""


def _plain(content: mmap.mmap) -> Iterator[_Piece]:
    for offset in range(0, len(content), _CHUNK):
        yield _Piece(offset, content[offset : offset + _CHUNK], compressed=False)


def _members(content: mmap.mmap) -> Iterator[_Piece]:
    """Decompresses one member after another; after a broken member continues at the next one that starts a record."""
    offset: int | None = 0
    while offset is not None and offset < len(content):
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
        at, reason = offset, ""
        try:
            while not inflate.eof:
                compressed = inflate.unconsumed_tail
                if not compressed:
                    compressed = content[at : at + _CHUNK]
                    at += len(compressed)
                if not compressed:
                    reason = "a gzip member that is cut off"
                    break
                if data := inflate.decompress(compressed, _CHUNK):
                    yield _Piece(offset, data, compressed=True)
        except zlib.error as error:
            reason = f"a gzip member that is broken ({error})"
        if not reason:
            offset = at - len(inflate.unused_data)
        elif content[offset : offset + _CHUNK].strip(b"\0"):
            yield _Piece(offset, b"", compressed=True, broken=reason)
            offset = _next_member(content, offset + 1)
        else:
            return  # zeros at the end pad the file to a block of the disk or tape


def _next_member(content: mmap.mmap, offset: int) -> int | None:
    while (offset := content.find(_GZIP_MAGIC, offset)) >= 0:
        try:
            beginning = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content[offset : offset + 16384], 16384)
        except zlib.error:
            beginning = b""
        if _RECORD_START.match(beginning):
            return offset
        offset += 1
    return None


class _Stream:
    """Reads lines and blocks from pieces. The stream ends at a broken piece until `seek_record` skips it."""

    def __init__(self, pieces: Iterator[_Piece]) -> None:
        self._pieces = pieces
        self._data, self._at = b"", 0
        self._base, self._compressed = 0, False
        self.broken = ""

    @property
    def offset(self) -> int:
        return self._base if self._compressed else self._base + self._at

    def line(self) -> bytes:
        """The next line with its line end, at most 64 KiB; empty at the end of the stream."""
        while True:
            end = self._data.find(b"\n", self._at, self._at + _LINE_LIMIT) + 1
            if not end and (len(self._data) - self._at >= _LINE_LIMIT or not self._fill()):
                end = min(len(self._data), self._at + _LINE_LIMIT)
            if end or not self._data:
                line = self._data[self._at : end]
                self._at = end
                return line

    def block(self, length: int) -> bytes:
        """The next `length` bytes, fewer at the end."""
        parts = list(self._parts(length))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, length: int) -> bool:
        """Skips `length` bytes; returns whether the stream had that number of bytes."""
        return sum(map(len, self._parts(length))) == length

    def push_back(self, data: bytes) -> None:
        if not self._compressed:
            self._base += self._at - len(data)
        self._data, self._at = data + self._data[self._at :], 0

    def skip_line_ends(self) -> bool:
        """Skips the line ends between records; returns whether there were any."""
        skipped = False
        while self._at < len(self._data) or self._fill():
            if self._data[self._at] not in b"\r\n":
                break
            self._at += 1
            skipped = True
        return skipped

    def at_record_or_end(self) -> bool:
        line = self.line()
        self.push_back(line)
        return not line or bool(_RECORD_START.match(line))

    def seek_record(self) -> None:
        """Skips to the next record: a line, or the member after a broken one, that starts a record. Or to the end."""
        if self.broken:
            found = _LATER_START.search(self._data, self._at)
            if not found:
                self._data, self._at, self.broken = b"", 0, ""
                return
        while not (found := _LATER_START.search(self._data, self._at)):
            self._at = max(self._at, len(self._data) - _LINE_LIMIT)
            if not self._fill():
                self._at = len(self._data)
                return
        self._at = found.start() + 1

    def _parts(self, length: int) -> Iterator[bytes]:
        while length and (self._at < len(self._data) or self._fill()):
            part = self._data[self._at : self._at + length]
            self._at += len(part)
            length -= len(part)
            yield part

    def _fill(self) -> bool:
        """Appends the next piece to the unread bytes; False at the end and before a broken piece."""
        piece = None if self.broken else next(self._pieces, None)
        if piece is None:
            return False
        if piece.broken:
            self.broken = piece.broken
            return False
        rest = self._data[self._at :]
        if not rest:
            self._base, self._compressed = piece.offset, piece.compressed
        elif not self._compressed:
            self._base += self._at
        self._data, self._at = rest + piece.data, 0
        return True
