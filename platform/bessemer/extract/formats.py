"""Detects the format of an input file by its name, or by its content if the name is ambiguous.

A `.json` file contains either one value per line, like JSON lines, or values over several lines: an array or an object.
`find_format` returns `jsonl` or `json`, depending on the beginning of the file. A file without a known suffix
(`part-00000`, `dump.zst`) is recognised if it begins like JSON, WARC or Parquet.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from bessemer.errors import InputError
from bessemer.extract.inputs import InputFile
from bessemer.extract.json_values import CutOff, json_value, json_values
from bessemer.extract.readers import READERS
from bessemer.extract.streams import BROKEN_STREAM, COMPRESSIONS, open_decompressed, open_utf8

if TYPE_CHECKING:
    FileFormat = str
    RowFormat = str
else:
    FileFormat = Literal[("auto", *READERS)]
    RowFormat = Literal[("auto", *(name for name, reader in READERS.items() if reader.rows is not None))]

_FORMATS = {
    suffix: reader.format for reader in READERS.values() for suffix in (*reader.suffixes, *reader.other_suffixes)
}
READABLE = " ".join(suffix for reader in READERS.values() for suffix in reader.suffixes)
"""The suffixes that messages name."""
ROW_SUFFIXES = " ".join(suffix for reader in READERS.values() if reader.rows is not None for suffix in reader.suffixes)
_ADVICE = {
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), "unpack it and name the folder in `paths`"),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".odt", ".epub", ".rtf"), "convert it to HTML, Markdown or plain text"),
    **dict.fromkeys((".xls", ".xlsx", ".ods"), "save its table as `.csv`"),
    **dict.fromkeys((".arrow", ".feather", ".orc", ".avro", ".pkl", ".npy"), "write it as `.parquet` or `.jsonl`"),
    **dict.fromkeys((".lz4", ".snappy", ".br", ".lzma", ".z"), "decompress it, or compress it with gzip or zstd"),
    **dict.fromkeys((".xml", ".tex", ".srt"), "convert it to plain text, or set `format: text` to take it as it is"),
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BEGINNING = 4096
_LONGEST_LINE = 32 << 20  # a `.json` file with a longer first line is read as one value


def find_format(file: InputFile) -> str | None:
    """The reader for a file; None if there is none. Reads the file's beginning if its name is ambiguous."""
    path = PurePosixPath(file.relative.lower())
    if path.suffix in COMPRESSIONS:
        path = path.with_suffix("")
    named = _FORMATS.get(path.suffix)
    if named not in ("json", "jsonl") and (named or path.suffix):
        return named
    try:
        if named is None:
            return _by_content(Path(file.path))
        return _json_or_lines(Path(file.path), named)
    except BROKEN_STREAM:
        return named  # the reader finds the same damage and records it


def without_reader(name: str) -> str:
    """The reason why no reader takes the file, with advice: the evidence of `unsupported_format`."""
    suffix = PurePosixPath(name.lower()).suffix
    advice = _ADVICE.get(suffix, "set `format` if the file has one of the formats that are read")
    return f"{suffix or 'a name without a suffix'}: {advice}; files are read from {READABLE}"


def check_formats(files: Sequence[InputFile], format: str | None) -> None:
    """Raises InputError if no file has a reader, before anything runs."""
    if format is None and not any(map(find_format, files)):
        raise InputError(
            f"no file of `paths` has a known format, for example `{files[0].relative}`",
            hint=without_reader(files[0].relative),
        )


def _json_or_lines(path: Path, named: str) -> str:
    """Returns `jsonl` if the first line is a complete value, or if the first is damaged and the second is complete."""
    with open_utf8(path) as file:
        beginning = file.read(_BEGINNING).removeprefix(_BYTE_ORDER_MARK).lstrip()
    if beginning.startswith(b"["):
        return "json"
    if not beginning or named == "jsonl":
        return named
    with open_utf8(path) as file:
        lines = (
            line.removeprefix(_BYTE_ORDER_MARK).strip() for line in iter(lambda: file.readline(_LONGEST_LINE), b"")
        )
        first, second = islice(chain(filter(None, lines), (b"", b"")), 2)
    if _is_value(first):
        return "jsonl"
    with open_utf8(path) as file, suppress(CutOff):
        whole, _ = next(json_values(file, _LONGEST_LINE), (b"", 0))
        if _is_value(whole):
            return "json"
    return "jsonl" if second.startswith(b"{") and _is_value(second) else "json"


def _by_content(path: Path) -> str | None:
    with open_decompressed(path) as raw:
        beginning = raw.read(8)
    for reader in READERS.values():
        if reader.magic and beginning.startswith(reader.magic):
            return reader.format
    with open_utf8(path) as file:
        text = file.read(64).removeprefix(_BYTE_ORDER_MARK).lstrip()
    if text.startswith(b"[{") or (text.startswith(b"{") and text[1:].lstrip().startswith(b'"')):
        return _json_or_lines(path, "json")
    return None


def _is_value(text: bytes) -> bool:
    try:
        json_value(text)
    except (ValueError, RecursionError):
        return False
    return True
