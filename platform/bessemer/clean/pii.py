"""`pii`: masks what leads to a person: e-mail addresses, phone numbers, public IP addresses, payment card numbers.

Candidates are found by what they cannot do without (an `@`, a cluster of digits, a group of hexadecimal digits before a
colon), then checked in full, so a batch without any costs little. What is checked:

- e-mail: a host name that ends in letters; `image@2x.png` is none.
- phone: `+` and a country code with 8 to 15 digits in groups; or a North American number whose area and exchange begin
  with 2 to 9, in the forms `(415) 555-2671`, `415-555-2671`, `415.555.2671`, `1-415-555-2671`; ten digits without
  a separator stay.
- IP address: public ones only, as in datatrove: private, loopback and documentation addresses stay, and so do versions
  (`version 1.2.3.4`, `v1.2.3.4`) and numbered headings.
- card number: 14 to 19 digits, in groups as printed on cards or in one piece, with an issuer's prefix and a right check
  digit (Luhn); a row of more than four groups of four is a table.

The ledger gets the number of each kind, never the data. Only the text is masked, not the document's URL or metadata.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from bessemer.clean.characters import DIGIT
from bessemer.clean.rules import Findings, Rule
from bessemer.clean.texts import Texts

KINDS = ("email", "phone", "ip_address", "card_number")


class Pii(Rule):
    """Masks e-mail addresses, phone numbers, public IP addresses and payment card numbers."""

    rule: Literal["pii"] = "pii"
    email: str | None = "<EMAIL>"
    """What stands for an e-mail address; `null` leaves them."""
    phone: str | None = "<PHONE>"
    """What stands for a phone number; `null` leaves them."""
    ip_address: str | None = "<IP_ADDRESS>"
    """What stands for a public IP address; `null` leaves them."""
    card_number: str | None = "<CARD_NUMBER>"
    """What stands for a payment card number; `null` leaves them."""

    def apply(self, texts: Texts) -> Findings:
        masks = {
            "email": self.email,
            "phone": self.phone,
            "ip_address": self.ip_address,
            "card_number": self.card_number,
        }
        counts = {kind: np.zeros(len(texts)) for kind in KINDS}
        strings = list(texts.strings)
        by_text: dict[int, list[Found]] = {}
        for found in find_personal_data(texts):
            if masks[found.kind] is not None:
                owner = int(np.searchsorted(texts.ends, found.start))
                by_text.setdefault(owner, []).append(found)
                counts[found.kind][owner] += 1
        evidence = {}
        for owner, items in by_text.items():
            strings[owner] = _replaced(texts, owner, items, masks)
            totals = ((kind, int(counts[kind][owner])) for kind in KINDS)
            evidence[owner] = ", ".join(f"{kind} {total}" for kind, total in totals if total)
        return Findings(counts, Texts(strings) if by_text else None, evidence)


class Found(NamedTuple):
    start: int
    end: int
    kind: str


def find_personal_data(texts: Texts) -> list[Found]:
    """Everything found in the joined texts, in order and without overlaps."""
    joined = texts.joined
    found: list[Found] = []
    candidates = [*_emails(joined), *_ipv6_addresses(texts), *_numbers(texts)]
    for item in sorted(candidates, key=lambda item: (item.start, -item.end)):
        if not found or item.start >= found[-1].end:
            found.append(item)
    return found


def _replaced(texts: Texts, owner: int, items: list[Found], masks: dict[str, str | None]) -> str:
    pieces, place = [], int(texts.starts[owner])
    for start, end, kind in items:
        pieces += [texts.joined[place:start], masks[kind] or ""]
        place = end
    return "".join([*pieces, texts.joined[place : int(texts.ends[owner])]])


# ------------------------------------------------------------------------------------------------ e-mail

_LOCAL = re.compile(r"\w[\w.%+'&-]{0,63}\Z")
_HOST = re.compile(r"(?:\w(?:[\w-]{0,61}\w)?\.)+[^\W\d_]{2,24}(?![\w@])")
_GAP = 4
"""Most characters from one digit of a number to the next, as in `+1 (415) 555`."""
_FILE_ENDINGS = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "json", "html", "xml", "txt"})


def _emails(joined: str) -> Iterator[Found]:
    place = joined.find("@")
    while place >= 0:
        local = _LOCAL.search(joined, max(0, place - 64), place)
        host = _HOST.match(joined, place + 1, place + 256)
        if local and host and host[0].rpartition(".")[2].lower() not in _FILE_ENDINGS:
            yield Found(local.start(), host.end(), "email")
        place = joined.find("@", place + 1)


# ------------------------------------------------------------------------------------------------ IP addresses

_IPV4 = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
_VERSION = re.compile(
    r"(?:\b(?:versions?|ver|v|release|firmware|kernel|build|section|chapter)\b\.?|[<>=~^]=|[<>~^§])[ \t:=]*\Z", re.I
)
_LINE_START = re.compile(r"(?:\A|\n)[ \t]*\Z")
_TITLE = re.compile(r"[ \t]+[A-Z]")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}(?::[0-9a-fA-F]{0,4}){2,7}(?!\w)")


def _ipv4_addresses(joined: str, start: int, end: int) -> Iterator[Found]:
    for match in _IPV4.finditer(joined, start, end):
        before = joined[max(0, match.start() - 16) : match.start()]
        small = all(int(part) < 32 for part in match[0].split("."))
        heading = small and _LINE_START.search(before) and _TITLE.match(joined, match.end())
        if _is_public(match[0]) and not heading and not _VERSION.search(before):
            yield Found(match.start(), match.end(), "ip_address")


def _ipv6_addresses(texts: Texts) -> Iterator[Found]:
    colons = np.flatnonzero(texts.codes == ord(":"))
    for first in colons[:-1][np.diff(colons) <= 5].tolist():
        match = _IPV6.match(texts.joined, first - 4) if first >= 4 else None
        if match:
            address = match[0].rstrip(":")
            if _is_public(address):
                yield Found(match.start(), match.start() + len(address), "ip_address")


def _is_public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
        return found.is_global and not found.is_multicast
    except ValueError:
        return False


# ------------------------------------------------------------------------------------------------ other numbers

_CARD = re.compile(
    r"""(?<![\w.+]) (?<!\d-) (?:
        \d{4}-\d{4}-\d{4}-\d{4}
        | (?<!\b\d{4}[ ]) \d{4}[ ]\d{4}[ ]\d{4}[ ]\d{4} (?![ ]\d{4}\b)
        | \d{4} (?P<separator>[ -]) \d{6} (?P=separator) \d{4,5}
        | \d{14,19}
    ) (?! \w | -\d )""",
    re.VERBOSE,
)
_ISSUED = re.compile(
    r"""3[47]\d{13} | 3(?:0[0-5]|[68]\d)\d{11}
    | (?=\d{16}(?:\d{3})?\Z)
      (?:4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|35(?:2[89]|[3-8])|6(?:011|4[4-9]|5|2))\d+""",
    re.VERBOSE,
)
_COUNTRY = r"\+(?:7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[2-9]\d\d)"
_PHONE = re.compile(
    rf"""(?<![\w.+/-]) (?:
        \+1[ .-]?\(?[2-9]\d\d\)?[ .-]?[2-9]\d\d[ .-]?\d{{4}}
        | (?:1[ .-])? \([2-9]\d\d\)[ .-]?[2-9]\d\d[ .-]\d{{4}}
        | (?:1[ .-])? [2-9]\d\d (?P<separator>[.-]) [2-9]\d\d (?P=separator) \d{{4}}
        | (?:{_COUNTRY}|\({_COUNTRY}\)) (?:[ .-]?\(\d{{1,4}}\))? (?:[ .-]?\d{{1,4}}){{2,6}}
    ) (?! [^\Wx] | [.-]\d )""",
    re.VERBOSE,
)


def _numbers(texts: Texts) -> Iterator[Found]:
    """Looks around each cluster of digits."""
    digits = np.flatnonzero(texts.flags & DIGIT != 0)
    edges = np.flatnonzero(np.diff(digits, prepend=-9, append=len(texts.codes) + 9) > _GAP)
    for first, after in pairwise(edges.tolist()):
        if after - first < 4:
            continue
        start, end = max(0, int(digits[first]) - 6), int(digits[after - 1]) + 7
        if texts.joined.count(".", start, end) >= 3:
            yield from _ipv4_addresses(texts.joined, start, end)
        if after - first >= 8:
            yield from _cards(texts.joined, start, end)
            yield from _phones(texts.joined, start, end)


def _cards(joined: str, start: int, end: int) -> Iterator[Found]:
    for match in _CARD.finditer(joined, start, end):
        digits = re.sub("[ -]", "", match[0])
        if _ISSUED.fullmatch(digits) and _luhn(digits):
            yield Found(match.start(), match.end(), "card_number")


def _luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _phones(joined: str, start: int, end: int) -> Iterator[Found]:
    for match in _PHONE.finditer(joined, start, end):
        if 8 <= sum(character.isdigit() for character in match[0]) <= 15:
            yield Found(match.start(), match.end(), "phone")
