"""Which reader a file is for, by its name, and how its compression is undone."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, cast

Format = Literal["html", "text", "jsonl", "parquet", "warc"]

_SUFFIXES: dict[str, Format] = {
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
    ".rst": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".warc": "warc",
    ".arc": "warc",
    ".wet": "warc",
}
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}

BROKEN_STREAM = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""What a compressed stream raises where it is cut off or damaged (gzip.BadGzipFile is an OSError)."""


def format_of(name: str) -> Format | None:
    """The format that a file's name stands for: `a.jsonl.gz` -> `jsonl`; None for one that no reader knows."""
    path = PurePosixPath(name.lower())
    if path.suffix in _COMPRESSIONS:
        path = path.with_suffix("")
    return _SUFFIXES.get(path.suffix)


def compression_of(name: str) -> str | None:
    return _COMPRESSIONS.get(PurePosixPath(name.lower()).suffix)


def open_decompressed(path: Path) -> IO[bytes]:
    """The file's bytes without the compression that its name tells."""
    compression = compression_of(path.name)
    if compression == "gzip":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if compression == "bz2":
        return cast("IO[bytes]", bz2.open(path, "rb"))
    if compression == "xz":
        return cast("IO[bytes]", lzma.open(path, "rb"))
    if compression == "zstd":
        import io

        import pyarrow as pa

        stream: Any = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
        return cast("IO[bytes]", io.BufferedReader(stream))
    return path.open("rb")
