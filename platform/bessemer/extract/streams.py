"""Reads an input file without its compression and in UTF-8.

The content of a file decides how it is read, because files are renamed and servers decompress files in transit. The
name counts only if the first bytes are ambiguous. Zstandard windows may have the format's largest size (2 GiB,
`zstd --long=31`), so the author of such a file determines how much memory it takes to read.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import sys
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Compression = Literal["gzip", "bz2", "xz", "zstd"]

COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}
BROKEN_STREAM = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)
"""Exceptions of a compressed stream that is cut off or damaged (gzip.BadGzipFile is an OSError)."""

_MAGIC: tuple[tuple[bytes, Compression], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
)
_SKIPPABLE_FRAME = b"\x2a\x4d\x18"  # after one byte from 0x50 to 0x5f: user data in front of a Zstandard frame
_BZIP2_BLOCK = b"1AY&SY"  # follows `BZh` and a digit; without it, these could be the beginning of a text
_LONGEST_WINDOW = 31
_SAMPLE_BYTES = 4096
_BINARY = bytes(code for code in range(32) if code not in b"\t\n\f\r\x1b")


def compression_of(path: Path) -> Compression | None:
    """The compression of a file. Its name counts only if the content is neither a known stream nor text."""
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
    for magic, compression in _MAGIC:
        if sample.startswith(magic):
            return compression
    if sample[:3] == b"BZh" and sample[4:10] == _BZIP2_BLOCK:
        return "bz2"
    if sample[1:4] == _SKIPPABLE_FRAME and sample[0] >> 4 == 5:
        return "zstd"
    is_text = bool(sample) and len(sample.translate(None, _BINARY)) == len(sample)
    return None if is_text else COMPRESSIONS.get(PurePosixPath(path.name.lower()).suffix)


def open_decompressed(path: Path) -> IO[bytes]:
    """The file's bytes without its compression. Reading raises one of `BROKEN_STREAM` if the stream is damaged."""
    compression = compression_of(path)
    if compression == "gzip":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if compression == "bz2":
        return cast("IO[bytes]", bz2.open(path, "rb"))
    if compression == "xz":
        return cast("IO[bytes]", lzma.open(path, "rb"))
    if compression == "zstd":
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _LONGEST_WINDOW}
        return cast("IO[bytes]", io.BufferedReader(cast("Any", zstd.open(path, "rb", options=options))))
    return path.open("rb")


def open_utf8(path: Path) -> IO[bytes]:
    """The file's bytes without compression and, if it is UTF-16 or UTF-32, in UTF-8 without a byte order mark.

    Any other encoding passes as it is. An unpaired surrogate of UTF-16 becomes U+FFFD.
    """
    file = open_decompressed(path)
    try:
        encoding = _wide_encoding(cast("io.BufferedReader", file).peek(4)[:4])
    except BaseException:
        file.close()
        raise
    return file if encoding is None else cast("IO[bytes]", io.BufferedReader(_Transcoded(file, encoding)))


def is_seekable_utf8(path: Path) -> bool:
    """Whether reading can start at any line: the file is not compressed, and not UTF-16 or UTF-32."""
    if compression_of(path) is not None:
        return False
    with path.open("rb") as file:
        return _wide_encoding(file.read(4)) is None


def _wide_encoding(beginning: bytes) -> str | None:
    """Detects UTF-16 and UTF-32 by a byte order mark, or by the zero bytes of an ASCII first character (RFC 4627)."""
    encoding = json.detect_encoding(beginning)
    if encoding.startswith("utf-8"):
        return None
    if encoding in ("utf-16", "utf-32"):  # with a mark
        return encoding
    first = beginning.decode(encoding, "replace")[:1]
    return encoding if first.isascii() and (first.isprintable() or first.isspace()) else None


class _Transcoded(io.RawIOBase):
    """A stream in `encoding`, read as UTF-8."""

    def __init__(self, source: IO[bytes], encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._waiting = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        while not self._waiting and not self._ended:
            chunk = self._source.read(len(target))
            self._ended = not chunk
            self._waiting = self._decoder.decode(chunk, final=self._ended).encode("utf-8")
        taken = self._waiting[: len(target)]
        self._waiting = self._waiting[len(taken) :]
        target[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        self._source.close()
        super().close()
