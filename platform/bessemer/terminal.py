"""Escapes control characters, so that text from outside cannot control the terminal.

A terminal executes escape sequences in its output: OSC 52 writes the clipboard, others rename the window or hide text.
Bidirectional overrides display text in a different order. All output for people passes through `printable`: commands,
errors, progress, log files and reports.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 without tab and line feed, bidirectional embeddings, overrides and isolates (Unicode, annex 9), and lone
surrogates, which no terminal can encode."""
_IN_ONE_LINE = re.compile(r"[\t\n]")


def printable(text: str) -> str:
    """`text` with its control characters escaped, as in `\\x1b`. Tabs and line feeds stay.

    >>> printable("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return _CONTROL.sub(_written_out, text)


def printable_line(text: str) -> str:
    """`text` as one line: tabs and line feeds are escaped too."""
    return _IN_ONE_LINE.sub(_written_out, printable(text))


def printable_json(text: str) -> str:
    """Escapes control characters in JSON text, without changing its value. They occur only in strings."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
