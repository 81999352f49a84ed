"""The parts that all readers share: the piece of a file, the interface of a reader, and records of rows."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from bessemer.artifacts.charset import decode
from bessemer.artifacts.ledger import Removed
from bessemer.errors import InputChanged
from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.json_values import json_value
from bessemer.extract.plain import well_formed
from bessemer.extract.settings import Fields, FileSettings, ReaderSettings
from bessemer.fingerprint import origin_id
from bessemer.hashes import state

MAX_METADATA_VALUE = 1000
_LANGUAGE = re.compile(r"([a-z]{2})(?:[-_].*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or the part of a large file from `start` to `end`, in bytes (JSON lines) or row groups (Parquet).

    `size` and `state` describe the whole file. `weight` is the approximate size of the part, and `first_record` is the
    number of its first line. `format` is None if no reader supports the file. `state` is empty if it is not known.
    """

    relative: str
    path: str
    format: str | None
    size: int
    weight: int
    start: int = 0
    end: int | None = None
    first_record: int = 1
    state: str = ""

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.end is None

    def record(self, settings: FileSettings, number: int | str | None = None, **values: Any) -> ExtractedRecord:
        """Makes a record of this file. `number` is its position in the file, or None if the file is one document."""
        place = "" if number is None else str(number)
        values.setdefault("source", settings.source or _name_of(self.relative))
        values.setdefault("url", f"file:{self.relative}#{place}" if place else f"file:{self.relative}")
        texts = {name: well_formed(value) for name, value in values.items() if isinstance(value, str)}
        return ExtractedRecord(id=origin_id("file", settings.source or "", self.relative, place), **(values | texts))

    def unreadable(self, settings: FileSettings, error: Exception | str, after: int = 0) -> ExtractedRecord:
        """Makes the record for a file that cannot be read at all, or not beyond the record with the number `after`."""
        reason = " ".join(str(error).split()) or type(error).__name__
        place = f"{after + 1}-" if after else None
        evidence = f"after record {after}: {reason}" if after else reason
        return self.record(settings, place, rule="unreadable_file", evidence=evidence[:300])

    def checked_path(self) -> Path:
        """The path of the file. Raises InputChanged if the file has changed since it was cut into units.

        Readers call it before and after reading, so that the documents are from the hashed content.
        """
        path = Path(self.path)
        try:
            found = path.stat()
        except FileNotFoundError:
            found = None
        if found is None or found.st_size != self.size or (self.state and state(found) != self.state):
            raise InputChanged(
                f"`{path}` changed while it was read", hint="wait until nothing writes to it, and run the command again"
            )
        return path


class Cut(NamedTuple):
    """A part of a file, as in `Piece`."""

    start: int
    end: int
    first_record: int
    weight: int


@dataclass(frozen=True)
class Reader:
    """The reader of one format. Its functions raise only InputChanged, because of no content of a file."""

    format: str
    suffixes: tuple[str, ...]
    """Suffixes of its files, as messages name them."""
    read: Callable[[Piece, ReaderSettings], Iterator[ExtractedRecord]]
    """Yields the documents of a piece, in order."""
    rows: Callable[[Piece, FileSettings], Iterator[ExtractedRecord]] | None = None
    """Yields the rows of a piece, each as JSON; None for a format without rows. Conversations are read this way."""
    split: Callable[[Path, int], Sequence[Cut]] = lambda path, target_bytes: ()
    """Divides a large file into cuts of about `target_bytes`; empty if the file is read as a whole."""
    other_suffixes: tuple[str, ...] = ()
    magic: bytes = b""
    """The first bytes of its files, for files without a known suffix."""
    work: int = 1
    """One byte takes about as much work as this many bytes of text. Does not apply to compressed archives."""


def row_record(
    piece: Piece, settings: FileSettings, number: int, values: dict[str, Any], lost: list[str] | None = None
) -> ExtractedRecord:
    """Makes the record of a row, whose content is the row as JSON. `lost` names the columns that became null."""
    content = json.dumps(values, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
    limit = settings.max_document_bytes
    if len(content) > limit:
        return piece.record(settings, number, rule="too_large", value=len(content), threshold=limit)
    evidence = f"not convertible, now null: {', '.join(dict.fromkeys(lost))}"[:200] if lost else None
    return piece.record(settings, number, content=content, unconverted=len(lost or ()), evidence=evidence)


def value_record(piece: Piece, settings: FileSettings, number: int, value: bytes) -> ExtractedRecord:
    """Makes the record of a row that is JSON already."""
    return piece.record(settings, number, content=value)


def record_of_fields(
    piece: Piece,
    settings: ReaderSettings,
    number: int,
    text: str | bytes,
    values: Mapping[str, Any],
    unconverted: Sequence[str] = (),
) -> ExtractedRecord:
    """Makes a record from its text and its other fields, `values`. `unconverted` names the fields that became null.

    Almost all bytes of the text must be UTF-8, because a single field is too short to detect another charset.
    """
    fields = settings.fields
    try:
        content = _utf8(text)
    except Removed as refused:
        return piece.record(settings, number, rule=refused.rule, evidence=refused.evidence)
    if len(content) > settings.max_document_bytes:
        threshold = settings.max_document_bytes
        return piece.record(settings, number, rule="too_large", value=len(content), threshold=threshold)
    named: dict[str, Any] = {}
    for name in ("url", "source", "license", "language"):
        value = values.get(getattr(fields, name))
        if isinstance(value, str) and value.strip():
            named[name] = value.strip()
    if settings.source:
        named.pop("source", None)
    language = _LANGUAGE.fullmatch(named.pop("language", ""))
    used = {getattr(fields, name) for name in Fields.model_fields}
    rest = {name: value for name, value in values.items() if name not in used and _is_plain(value)}
    return piece.record(
        settings,
        number,
        content=content,
        kind="unicode",
        language=language[1].lower() if language else None,
        metadata=well_formed(json.dumps(rest, ensure_ascii=False, sort_keys=True)),
        unconverted=len(unconverted),
        evidence=f"not convertible, now null: {', '.join(dict.fromkeys(unconverted))}"[:200] if unconverted else None,
        **named,
    )


def parse_json(value: bytes) -> Any:
    """Parses a JSON value. Bytes that are not UTF-8 become lone surrogates (PEP 383). Raises Removed if it is not
    JSON."""
    try:
        return json_value(value)
    except (ValueError, RecursionError) as error:
        raise Removed("malformed_json", evidence=str(error)[:120]) from error


def text_of(values: Mapping[str, Any], name: str, *, is_utf8: bool) -> str | bytes:
    """The field with the document's text, or its bytes if they are not UTF-8. Raises Removed without text."""
    text = values.get(name)
    if not isinstance(text, str):
        raise Removed("missing_text", evidence=lacks(name, list(values), type(text).__name__))
    if not is_utf8:
        with contextlib.suppress(UnicodeEncodeError):  # the JSON contains other, escaped lone surrogates
            return text.encode("utf-8", "surrogateescape")
    return text


def lacks(name: str, fields: Sequence[str], kind: str) -> str:
    """The reason why the fields contain no text, and the setting that names another field."""
    if name in fields:
        return f"`{name}` is a {kind}, not a text"
    listed = ", ".join(f"`{field}`" for field in fields[:10])
    return f"no `{name}` among {listed or 'no fields'}; name the text with `fields: {{text: ...}}`"[:300]


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogatepass")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        decoded = decode(text)
        if not decoded.readable or decoded.encoding != "utf-8":
            likely = f", perhaps {decoded.encoding}" if decoded.readable else ""
            evidence = f"not UTF-8{likely}: convert the file, for example with `iconv -f CHARSET -t UTF-8`"
            raise Removed("undecodable", evidence=evidence) from None
        return decoded.text.encode()
    return text


def _is_plain(value: Any) -> bool:
    """Whether a field is short enough to be kept as metadata."""
    if isinstance(value, str):
        return len(value) <= MAX_METADATA_VALUE
    if isinstance(value, float):
        return value - value == 0  # neither infinite nor NaN, which JSON cannot hold
    return isinstance(value, int) and abs(value) < 1 << 63


def _name_of(relative: str) -> str:
    """The first folder of a path, or the file's name without its suffixes."""
    parts = PurePosixPath(relative).parts
    return parts[0] if len(parts) > 1 else parts[0].split(".")[0] or parts[0]
