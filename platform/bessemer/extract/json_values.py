"""Reads the values of a JSON file without lines: the elements of its arrays, and the objects outside of arrays.

The file is cut into values at brackets and commas, in one pass and without parsing. So the memory is bounded by one
value, a value that is too large is skipped, and an invalid value does not affect the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

_CHUNK = 1 << 20
_MARK = re.compile(rb'["\[\]{},]')
_REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EXACT_DIGITS = 640
"""Python converts integers of this many digits under every possible limit."""
_BLANK = b" \t\r\n"


class CutOff(Exception):
    """Raised after the last complete value if the file ends inside a value."""


def json_values(file: IO[bytes], limit: int) -> Iterator[tuple[bytes, int]]:
    """Yields (value, its size in bytes) in order. The value is empty if its size exceeds `limit`. Raises CutOff."""
    splitter = _Splitter(limit)
    beginning = file.read(len(_BYTE_ORDER_MARK))
    if beginning != _BYTE_ORDER_MARK:
        yield from splitter.feed(beginning)
    while chunk := file.read(_CHUNK):
        yield from splitter.feed(chunk)
    yield from splitter.finish()


def json_value(content: bytes) -> Any:
    """Parses a value. Bytes that are not UTF-8 become lone surrogates (PEP 383). Raises ValueError, RecursionError.

    Unescaped tabs and other control characters in strings are accepted. An integer with more digits than Python
    converts becomes a float.
    """
    text = content.decode("utf-8", "surrogateescape")
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError:
        raise
    except ValueError:  # more digits than `sys.get_int_max_str_digits()`
        return json.loads(text, strict=False, parse_int=_number)


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _EXACT_DIGITS else float(digits)


class _Splitter:
    """Finds the ends of values. `depth` counts the open brackets of the current value, without those of an array around
    it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_array = self._in_string = self._escaped = False
        self._depth = 0
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, int]]:
        """Takes the next bytes of the file and yields the values that end in them."""
        start = at = 0
        while at < len(chunk):
            if self._in_string:
                at = self._string(chunk, at)
                continue
            found = _MARK.search(chunk, at)
            if found is None:
                break
            at, mark = found.end(), found[0]
            if mark == b'"':
                self._in_string = True
            elif self._depth:
                self._depth += 1 if mark in b"[{" else -1 if mark in b"]}" else 0
                if not self._depth and not self._in_array:
                    self._keep(chunk[start:at])
                    yield from self._value()
                    start = at
            elif mark == b"{" or (mark == b"[" and self._in_array):
                if not self._in_array:
                    self._keep(chunk[start : at - 1])
                    yield from self._value()
                    start = at - 1
                self._depth = 1
            elif mark == b"," or mark == (b"]" if self._in_array else b"["):
                self._keep(chunk[start : at - 1])
                yield from self._value()
                start = at
                self._in_array = mark == b"[" or (self._in_array and mark == b",")
        self._keep(chunk[start:])

    def finish(self) -> Iterator[tuple[bytes, int]]:
        """Yields the last value at the end of the file. Raises CutOff if brackets or a string are still open."""
        if self._in_array or self._depth or self._in_string:
            raise CutOff("the file ends inside an array, an object or a string")
        yield from self._value()

    def _string(self, chunk: bytes, at: int) -> int:
        """The end of the string that is open at `at`: after its closing quote, or the end of the chunk."""
        if self._escaped:
            self._escaped = False
            at += 1
        match = _REST_OF_STRING.match(chunk, at)
        assert match is not None
        at = match.end()
        if at < len(chunk):
            self._escaped = chunk[at : at + 1] == b"\\"  # the last byte of the chunk; otherwise the pattern matches
            self._in_string = self._escaped
            at += 1
        return at

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._limit:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def _value(self) -> Iterator[tuple[bytes, int]]:
        value, size = b"".join(self._pieces).strip(_BLANK), self._size
        self._pieces.clear()
        self._size = 0
        if size > self._limit:
            yield b"", size
        elif value:
            yield value, len(value)
