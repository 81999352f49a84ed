"""Cleans plain text: line ends, control characters, lone surrogates. Rejects content that is not text."""

from __future__ import annotations

import re

from bessemer.artifacts.ledger import Removed

MAX_CONTROL_RATIO = 0.02
CONTROL: dict[int, None] = dict.fromkeys((*range(9), 11, 12, *range(14, 30), 31, 127, 0xFFFE, 0xFFFF))
"""Deletes control characters; tab, line ends and U+001E (record separator) stay."""
_COUNTED = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_GUTENBERG_START = re.compile(
    r"^.{0,40}\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG E(?:BOOK|TEXT)[^\n]*(?:\n[^\n]+)*?\*\*\*[^\n]*\n"
    r"|^[^\n]*\*END\*? ?THE SMALL PRINT![^\n]*\n",
    re.IGNORECASE | re.MULTILINE,
)
_GUTENBERG_END = re.compile(
    r"^(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the |this )?Project Gutenberg)",
    re.IGNORECASE | re.MULTILINE,
)


def plain_text(text: str) -> str:
    """Returns `text` with `\\n` as line end and without control characters. Raises Removed if it is not text."""
    control = len(_COUNTED.findall(text))
    if control > MAX_CONTROL_RATIO * len(text):
        raise Removed("binary", value=control / len(text), threshold=MAX_CONTROL_RATIO)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if control or "\f" in text or "\v" in text or "\x1b" in text:
        text = text.translate(CONTROL).replace("\x1e", "")
    text = text.removeprefix("\ufeff")
    if not text or text.isspace():
        raise Removed("empty_text", evidence="an empty text")
    return text


def well_formed(text: str) -> str:
    """Replaces lone surrogates by U+FFFD. JSON can contain them, but UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def strip_gutenberg(text: str) -> str:
    """Removes the licence header and footer of a Project Gutenberg book. Returns any other text unchanged."""
    start = next((m.end() for m in [_GUTENBERG_START.search(text, 0, 100_000)] if m), None)
    if start is None:
        return text
    end = _GUTENBERG_END.search(text, max(start, len(text) - 100_000))
    body = text[start : end.start() if end else len(text)].strip("\n")
    return body + "\n" if body.strip() else text
