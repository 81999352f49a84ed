"""The record that every reader makes: one page, file, line or row, before its text is extracted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["page", "text", "unicode"]
"""`page`: has a media type and may be HTML. `text`: has an unknown charset. `unicode`: is UTF-8."""


@dataclass(frozen=True, slots=True)
class ExtractedRecord:
    """One page, file, line or row. `content` is None if a `rule` already removes the record."""

    id: str
    url: str
    source: str
    content: bytes | None = None
    kind: Kind = "page"
    license: str | None = None
    language: str | None = None
    media_type: str = ""
    charset: str | None = None
    status: int | None = None
    fetched_at: datetime | None = None
    metadata: str = "{}"
    rule: str | None = None
    value: float | None = None
    threshold: float | None = None
    evidence: str | None = None
    unconverted: int = 0
    """Number of values that could not be converted and are null; `evidence` names their fields."""
