"""Finds public IP addresses.

As in datatrove, private, loopback, multicast and documentation addresses stay. Four numbers separated by full stops are
not an address after the name of a version, a product (`Firefox/3.6.13.1`) or a section. If all four are below 32, as in
`1.1.1.4`, they are a section or a version, unless the text around them mentions an address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

import numpy as np

from bessemer.clean.spans import Array

_IPV4 = re.compile(r"(?<![\w.])(?<![^\W\d]-)\d{1,3}(?:\.\d{1,3}){3}(?!\w|-[^\W\d]|\.\d)")
_VERSION = re.compile(
    r"(?:(?:\b|(?<=[a-z]))(?:versi\w*|version\w*|wersja|verze|sürüm|верси\w*|ver|v|rv|rev|revision|release|firmware|kernel|build|section|chapter|theorem|"
    r"lemma|table|figure|clause|paragraph|§+)\b\.?|版本|バージョン|버전|الإصدار|[<>=~^]=|[<>~^§]|[a-z_]/)[ \t:=\"']*\Z",
    re.I,
)
_LINE_START = re.compile(r"(?:\A|\n)[ \t]*\Z")
_TITLE = re.compile(r"[ \t]+[A-Z]")
_SMALL = 32
_RESOLVERS = frozenset({"8.8.8.8", "9.9.9.9"})
"""Public name servers, whose addresses have small numbers."""
_NETWORK_BEFORE = re.compile(
    r"(?:(?<![a-z])(?:ip|ipv4|addr|address|dns|nameserver|gateway|ping|traceroute)(?![a-z])|://)[^\n]*\Z", re.I
)
_MASK = re.compile(r"<[A-Z_]+>")
_NETWORK_AFTER = re.compile(r":\d{2,5}\b|/\d{1,2}\b")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}(?::[0-9a-fA-F]{0,4}){2,7}(?!\w)")


def find_ipv4(text: str, joined: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each address in `text[start:end]`, where `text` comes from `number_text` of `joined`."""
    for match in _IPV4.finditer(text, start, end):
        before = joined[max(0, match.start() - 24) : match.start()].rpartition("\n")
        line = "".join(before)
        small = all(int(part) < _SMALL for part in match[0].split(".")) and match[0] not in _RESOLVERS
        if small:
            heading = _LINE_START.search(line) and _TITLE.match(text, match.end())
            network = _NETWORK_BEFORE.search(_MASK.sub("", before[2])) or _NETWORK_AFTER.match(text, match.end())
            if heading or not network:
                continue
        if _is_public(match[0]) and not _VERSION.search(line):
            yield match.span()


def find_ipv6(text: str, codes: Array) -> Iterator[tuple[int, int]]:
    """(start, end) of each address in `text`; `codes` are its code points."""
    colons = np.flatnonzero(codes == ord(":"))
    for first in colons[:-1][np.diff(colons) <= 5].tolist():
        match = _IPV6.match(text, first - 4) if first >= 4 else None
        if match:
            address = match[0].rstrip(":")
            if _is_public(address):
                yield match.start(), match.start() + len(address)


def _is_public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
        return found.is_global and not found.is_multicast
    except ValueError:
        return False
