"""What the readers share: the piece they read, and how a record gets its name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bessemer.errors import InputError
from bessemer.extract.formats import Format
from bessemer.extract.plain import well_formed
from bessemer.extract.records import Kind, Record
from bessemer.extract.settings import Fields, FileSettings, ReaderSettings
from bessemer.fingerprint import origin_id

MAX_METADATA_VALUE = 1000
_LANGUAGE = re.compile(r"([a-z]{2})(?:[-_].*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or of a large one the part from `start` to `end`: bytes of JSON lines, row groups of a Parquet file.

    `size` is the whole file's, `weight` about that of the part; `first_record` is the number of the first line in it.
    `format` is None for a file that no reader knows.
    """

    relative: str
    path: str
    format: Format | None
    size: int
    weight: int
    start: int = 0
    end: int | None = None
    first_record: int = 1

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.end is None

    def record(self, settings: FileSettings, number: int | str | None = None, **values: Any) -> Record:
        """A record of this file: `number` is its place in it, None where the file is one document."""
        place = "" if number is None else str(number)
        values.setdefault("source", settings.source or _name_of(self.relative))
        values.setdefault("url", f"file:{self.relative}#{place}" if place else f"file:{self.relative}")
        texts = {name: well_formed(value) for name, value in values.items() if isinstance(value, str)}
        return Record(id=origin_id("file", settings.source or "", self.relative, place), **(values | texts))

    def checked_path(self) -> Path:
        """Where the file lies. Raises InputError if it is not the file that the units were cut from."""
        path = Path(self.path)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = None
        if size != self.size:
            raise InputError(f"`{path}` changed while it was read", hint="let it rest, and run the same command again")
        return path


def record_of_fields(
    piece: Piece, settings: ReaderSettings, number: int, text: bytes, values: Mapping[str, Any]
) -> Record:
    """A record whose text is known; `values` are its other fields."""
    fields = settings.fields
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
    kind: Kind = "unicode"
    return piece.record(
        settings,
        number,
        content=text,
        kind=kind,
        language=language[1].lower() if language else None,
        metadata=json.dumps(rest, ensure_ascii=True, sort_keys=True, default=str),
        **named,
    )


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
