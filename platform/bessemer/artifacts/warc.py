"""Records of WARC and ARC files, damaged ones included.

Archives in the wild are cut off, half overwritten, or carry wrong lengths, and a reader that stops at the first
such place loses the rest of the file. This one never raises for what is in the file: where a record cannot be
read it yields `Damage` and goes on at the next place where a record begins (the next gzip member, or the next
line `WARC/1.x` or ARC header line). One pass, any file size; memory is one record, and a record larger than
`max_record_bytes` is skipped without being held. A gzip file may hold one member a record, as the standard
recommends, or be cut into members anywhere.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 18
_LINE_LIMIT = 1 << 16
_HEADER_LIMIT = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b\x08"
_ARC_LINE = rb"[a-z][a-z0-9+.-]{1,15}:[^\r\n]{0,8000} [0-9A-Fa-f.:]+ \d{12,17} [^\r\n]{0,200}?\d+\r?\n"
_RECORD_START = re.compile(rb"(?:WARC/[01]\.\d+[ \t]*\r?\n|" + _ARC_LINE + rb")", re.IGNORECASE)
_LATER_START = re.compile(rb"\n(?:WARC/[01]\.\d+[ \t]*\r?\n|" + _ARC_LINE + rb")", re.IGNORECASE)
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive (WACZ?); unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; decompress it first",
    b"\x04\x22\x4d\x18": "compressed with lz4; decompress it first",
    b"BZh": "compressed with bzip2; decompress it first",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `kind` is the WARC type (`response` for ARC documents); header names are lower case."""

    offset: int
    kind: str
    headers: dict[str, str]
    block: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """A place in the file that could not be read, and why. `url` is empty where even that is unknown."""

    offset: int
    reason: str
    url: str = ""


def read_records(path: Path, *, max_record_bytes: int = 1 << 26) -> Iterator[Record | Damage]:
    """Every record of a WARC or ARC file, plain or gzip, in order. Raises only for a file that cannot be opened."""
    with path.open("rb") as file:
        head = file.read(8)
        file.seek(0)
        if not head:
            yield Damage(0, "the file is empty")
            return
        for magic, reason in _OTHER_FORMATS.items():
            if head.startswith(magic):
                yield Damage(0, f"not a WARC or ARC file: {reason}")
                return
        pieces = _members(file) if head.startswith(_GZIP_MAGIC[:2]) else _plain(file)
        yield from _records(_Stream(pieces), max_record_bytes)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some decompressed bytes. `offset` is where they lie in the file: of the member, if `compressed`."""

    offset: int
    data: bytes
    compressed: bool
    broken: str = ""


def _plain(file: BinaryIO) -> Iterator[_Piece]:
    offset = 0
    while data := file.read(_CHUNK):
        yield _Piece(offset, data, compressed=False)
        offset += len(data)


def _members(file: BinaryIO) -> Iterator[_Piece]:
    """Decompresses member after member; after a broken one, searches the next that begins with a record."""
    offset, raw, at_end = 0, b"", False
    while True:
        if len(raw) < len(_GZIP_MAGIC):
            raw += file.read(_CHUNK)
        if not raw.strip(b"\0"):  # padding at the end is allowed
            return
        inflate, reason = zlib.decompressobj(zlib.MAX_WBITS | 16), ""
        used, start = 0, raw
        try:
            while not inflate.eof:
                if not raw:
                    raw = file.read(_CHUNK)
                    at_end = not raw
                    if at_end:
                        reason = "the gzip member is cut off"
                        break
                data = inflate.decompress(raw, _CHUNK)
                rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                used += len(raw) - len(rest)
                raw = rest
                if data:
                    yield _Piece(offset, data, compressed=True)
        except zlib.error as error:
            reason = f"the gzip member is broken ({error})"
        if not reason:
            offset += used
            continue
        yield _Piece(offset, b"", compressed=True, broken=reason)
        if at_end:
            return
        file.seek(offset + 1)
        found = _next_member(file, offset + 1)
        if found is None:
            return
        offset, raw = found, b""
        file.seek(offset)
        del start


def _next_member(file: BinaryIO, offset: int) -> int | None:
    """The offset of the next gzip member that inflates to the beginning of a record."""
    window, base = b"", offset
    while data := file.read(_CHUNK):
        window += data
        at = window.find(_GZIP_MAGIC)
        while at >= 0:
            try:
                beginning = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(window[at : at + 8192], 16384)
            except zlib.error:
                beginning = b""
            if _RECORD_START.match(beginning) or beginning.startswith(b"filedesc:"):
                return base + at
            at = window.find(_GZIP_MAGIC, at + 1)
        keep = 8192 if len(window) > 2 * 8192 else 2
        base += len(window) - keep
        window = window[-keep:]
    return None


class _Stream:
    """Lines and blocks from pieces, with push-back. A broken piece ends it until `mend` is called."""

    def __init__(self, pieces: Iterator[_Piece]) -> None:
        self._pieces = pieces
        self._data, self._at = b"", 0
        self._base, self._compressed = 0, False
        self.broken = ""

    @property
    def offset(self) -> int:
        return self._base if self._compressed else self._base + self._at

    def _fill(self) -> bool:
        """Appends the next piece to what is left; False at the end and at a broken piece."""
        if self.broken:
            return False
        piece = next(self._pieces, None)
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

    def mend(self) -> None:
        """Forgets what is left of a broken piece and goes on with the next good one."""
        self._data, self._at, self.broken = b"", 0, ""

    def line(self) -> bytes:
        """The next line with its end; a part of it where it is longer than 64 KiB; empty at the end."""
        while (end := self._data.find(b"\n", self._at, self._at + _LINE_LIMIT)) < 0:
            if len(self._data) - self._at >= _LINE_LIMIT or not self._fill():
                end = min(len(self._data), self._at + _LINE_LIMIT) - 1
                break
        line = self._data[self._at : end + 1]
        self._at = end + 1
        return line

    def block(self, length: int, *, keep: bool = True) -> bytes | None:
        """The next `length` bytes (shorter at the end); None, after skipping them, unless `keep`."""
        parts, missing = [], length
        while missing:
            if self._at == len(self._data) and not self._fill():
                break
            part = self._data[self._at : self._at + missing]
            self._at += len(part)
            missing -= len(part)
            if keep:
                parts.append(part)
        self.complete = not missing
        return b"".join(parts) if keep else None

    def push_back(self, data: bytes) -> None:
        if not self._compressed:
            self._base += self._at - len(data)
        self._data, self._at = data + self._data[self._at :], 0

    def skip_blank_lines(self) -> int:
        """Skips line ends between records; how many bytes that were."""
        skipped = 0
        while True:
            if self._at == len(self._data) and not self._fill():
                return skipped
            if self._data[self._at] not in b"\r\n":
                return skipped
            self._at += 1
            skipped += 1

    def at_record(self) -> bool:
        """Whether a record begins here; looks ahead one line."""
        line = self.line()
        self.push_back(line)
        return bool(_RECORD_START.match(line)) or line.startswith(b"filedesc:")

    def seek_record(self) -> bool:
        """Skips to the next line that begins a record; False where there is none."""
        overlap = _LINE_LIMIT
        while True:
            found = _LATER_START.search(self._data, self._at)
            if found:
                self._at = found.start() + 1
                return True
            self._at = max(self._at, len(self._data) - overlap)
            if not self._fill():
                if not self.broken:
                    self._at = len(self._data)
                    return False
                self.mend()
                if self._fill() and self.at_record():
                    return True
