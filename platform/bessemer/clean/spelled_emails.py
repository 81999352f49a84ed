"""Finds e-mail addresses with spelled-out signs.

Examples: `jane (at) example (dot) org`, `jane[at]example.org`, `jane.doe at example dot org`. A spelled-out sign is
usually a word in brackets. Both signs may also be bare words, but a verb before `at` looks like a name (`look at
example dot com`). So the bare form also needs one of these: a full stop, a hyphen, an underscore or a digit in the
name; angle brackets around the address; or a word such as `e-mail:` directly before it.

Cost: 2 ns per character for text without such addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from bessemer.clean.email_addresses import top_level_length
from bessemer.clean.spans import Array

_AT, _DOT = "at|ät|@", r"dot|punkt|point|punto|ponto|\."


def _in_brackets(words: str) -> str:
    pairs = ((r"\(", r"\)"), (r"\[", r"\]"), (r"\{", r"\}"))
    return "[ ]?(?:" + "|".join(rf"{opens}\s?(?:{words})\s?{closes}" for opens, closes in pairs) + ")[ ]?"


_ANY_DOT = rf"(?:{_in_brackets(_DOT)}|[ ]dot[ ]|\.)"
_LETTER = r"[a-z0-9\u00c0-\u024f]"
_LABEL = rf"{_LETTER}(?:[a-z0-9\u00c0-\u024f_-]{{0,62}}{_LETTER})?"
_NAME = rf"(?<![\w.%+@-]){_LABEL}(?:(?:{_ANY_DOT}|\+){_LABEL}){{0,4}}"
_IN_BRACKETS = re.compile(rf"{_NAME}{_in_brackets(_AT)}(?P<host>{_LABEL}(?:{_ANY_DOT}{_LABEL}){{1,4}})", re.I)
_BARE = re.compile(rf"(?P<name>{_NAME})[ ]at[ ](?P<host>{_LABEL}(?:[ ]dot[ ]{_LABEL}){{1,4}})", re.I)
_DOTS = re.compile(_ANY_DOT, re.I)
_SIGNS = re.compile(rf"(?P<at>{_in_brackets(_AT)}|[ ]at[ ])|{_ANY_DOT}", re.I)

_SIGN_BEFORE = re.compile(rf"[(\[{{]\s?(?:{_AT})\s?\Z", re.I)

_NOT_A_VERB = re.compile(r"[._+\d-]|[ ]dot[ ]", re.I)
_MAIL_WORD = re.compile(
    r"(?:\be-?mail|\bmailto|\bcontact|\baddress|\bwrite to|\breach (?:me|us))(?:[ ](?:is|at))?[ ]?[:=]?[ ]?\Z", re.I
)

_SMALL = np.uint32(0x20)
"""The bit that turns a capital letter into a small one. It also turns `@` into `` ` ``."""
_REACH = 128
"""Maximum number of characters between a sign and either end of the address."""


def find_spelled_emails(joined: str, codes: Array) -> Iterator[tuple[int, int]]:
    """(start, end) of each address in `joined`, in no particular order; `codes` are its code points."""
    closing = np.flatnonzero((codes == ord(")")) | (codes == ord("]")) | (codes == ord("}")))
    last, before_last = codes[closing - 1] | _SMALL, codes[closing - 2] | _SMALL
    ends_in_at = (last == ord("t")) & ((before_last == ord("a")) | (before_last == ord("ä")))
    for place in closing[ends_in_at | (last == ord("`")) | (last == ord(" "))].tolist():
        if _SIGN_BEFORE.search(joined[max(0, place - 9) : place]):
            yield from _find_around(joined, place, _IN_BRACKETS)
    for word in ("dot", "DOT"):
        place = joined.find(word)
        while place >= 0:
            if _are_bare_signs(joined, place):
                yield from _find_around(joined, place, _BARE)
            place = joined.find(word, place + 1)


def _are_bare_signs(joined: str, place: int) -> bool:
    """Whether the three letters at `place` are a separate word, and ` at ` occurs before them."""
    around = joined[place - 1 : place] + joined[place + 3 : place + 4]
    return around == "  " and " at " in joined[max(0, place - _REACH) : place].lower()


def plain_address(address: str) -> str:
    """`jane (at) example (dot) org` as `jane@example.org`."""
    return _SIGNS.sub(lambda sign: "@" if sign["at"] else ".", address)


def _find_around(joined: str, place: int, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """The address with a sign at `place`, if there is one."""
    for match in pattern.finditer(joined, max(0, place - _REACH), place + _REACH):
        if match.start() < place < match.end():
            end = _host_end(match)
            if end and (pattern is _IN_BRACKETS or _is_named(joined, match)):
                yield match.start(), end


def _host_end(match: re.Match[str]) -> int | None:
    """End of the longest host with a top-level domain. Further labels belong to the next sentence."""
    host, start = match["host"], match.start("host")
    dots = list(_DOTS.finditer(host))
    for number in reversed(range(len(dots))):
        label_end = dots[number + 1].start() if number + 1 < len(dots) else len(host)
        label = host[dots[number].end() : label_end]
        if top_level_length(label) == len(label):
            return start + label_end
    return None


def _is_named(joined: str, match: re.Match[str]) -> bool:
    """Whether the text around the words, or a sign in the name, shows that they are an address."""
    before = joined[max(0, match.start() - 24) : match.start()].rpartition("\n")[2]
    in_brackets = before[-1:] == "<" and joined[match.end() : match.end() + 1] == ">"
    return in_brackets or bool(_NOT_A_VERB.search(match["name"]) or _MAIL_WORD.search(before))
