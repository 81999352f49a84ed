"""`pii`: masks personal data.

| kind | module |
|---|---|
| `email` | `email_addresses`, `spelled_emails` |
| `phone` | `phone_numbers` |
| `ip_address` | `ip_addresses` |
| `card_number`, `iban` | `account_numbers` |

The rule first searches for characters that a finding must contain: an `@`, a cluster of digits, a group of hexadecimal
digits before a colon. It then checks these candidates in full, so text without candidates costs little. Digits, dashes
and blanks of every script count as their ASCII equivalents (`lookalikes`).

The ledger records the number of findings per kind, never the data. The rule masks the text, but not the URL or the
metadata of a document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from bessemer.clean.account_numbers import find_cards, find_iban
from bessemer.clean.email_addresses import find_emails
from bessemer.clean.ip_addresses import find_ipv4, find_ipv6
from bessemer.clean.lookalikes import ascii_lookalikes, number_text
from bessemer.clean.phone_numbers import find_phone_numbers
from bessemer.clean.rules import Findings, Rule
from bessemer.clean.spans import Array
from bessemer.clean.spelled_emails import find_spelled_emails, plain_address
from bessemer.clean.texts import Texts

KINDS = ("email", "phone", "ip_address", "card_number", "iban")


class Pii(Rule):
    """Masks e-mail addresses, phone numbers, public IP addresses, payment card numbers and IBANs."""

    rule: Literal["pii"] = "pii"
    email: str | None = "<EMAIL>"
    """Mask for e-mail addresses; `null` leaves them unmasked."""
    phone: str | None = "<PHONE>"
    """Mask for phone numbers; `null` leaves them unmasked."""
    ip_address: str | None = "<IP_ADDRESS>"
    """Mask for public IP addresses; `null` leaves them unmasked."""
    card_number: str | None = "<CARD_NUMBER>"
    """Mask for payment card numbers; `null` leaves them unmasked."""
    iban: str | None = "<IBAN>"
    """Mask for international bank account numbers; `null` leaves them unmasked."""

    def apply(self, texts: Texts) -> Findings:
        masks = {kind: getattr(self, kind) for kind in KINDS}
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
    """All findings in the joined texts, in order and without overlaps."""
    text, digits = number_text(texts)
    found: list[Found] = []
    candidates = [Found(start, end, "email") for start, end in find_emails(texts.joined, texts.codes)]
    candidates += [Found(start, end, "email") for start, end in find_spelled_emails(texts.joined, texts.codes)]
    candidates += [Found(start, end, "ip_address") for start, end in find_ipv6(text, texts.codes)]
    candidates += _numbers(texts, text, digits)
    for item in sorted(candidates, key=lambda item: (item.start, -item.end)):
        if not found or item.start >= found[-1].end:
            found.append(item)
    return found


def comparable(kind: str, characters: str) -> str:
    """A finding without its formatting: equal for `+49 30 901820` and `+49-30-901820`."""
    plain = ascii_lookalikes(characters).replace("%40", "@").casefold()
    if kind == "email" and "@" not in plain:
        plain = plain_address(plain)
    return plain if kind in ("email", "ip_address") else "".join(filter(str.isalnum, plain))


_GAP = 5
"""Maximum number of characters from one digit of a number to the next, as in `30 - (12)`."""
_REACH = 8
"""Number of characters around a cluster of digits that a pattern may read."""


def _numbers(texts: Texts, text: str, digits: Array) -> Iterator[Found]:
    """Findings around each cluster of digits. A cluster does not extend beyond its line."""
    yield from (Found(*span, "iban") for start in _iban_starts(texts, digits) if (span := find_iban(text, start)))
    gaps = np.diff(digits, prepend=-9, append=len(text) + 9)
    apart = gaps > _GAP
    for step in range(1, _GAP):
        inside = np.flatnonzero(~apart & (gaps > step))
        apart[inside] = texts.codes[digits[inside] - step] == ord("\n")
    edges = np.flatnonzero(apart)
    sizes = np.diff(edges)
    enough = sizes >= 4
    firsts, lasts = digits[edges[:-1][enough]], digits[edges[1:][enough] - 1]
    floors = texts.starts[np.searchsorted(texts.ends, firsts)]
    columns = (firsts, lasts, sizes[enough], floors)
    for first, last, size, floor in zip(*(column.tolist() for column in columns), strict=True):
        start, end = max(0, first - _REACH), last + _REACH
        if text.count(".", start, end) >= 3:
            yield from (Found(*span, "ip_address") for span in find_ipv4(text, texts.joined, start, end))
        if size >= 14:
            yield from (Found(*span, "card_number") for span in find_cards(text, texts.joined, start, end))
        if size >= 7:
            yield from (Found(*span, "phone") for span in find_phone_numbers(text, texts.joined, start, end, floor))


def _iban_starts(texts: Texts, digits: Array) -> list[int]:
    """Positions of two ASCII letters followed by two digits."""
    codes, seconds = texts.codes, digits[:-1][np.diff(digits) == 1]
    seconds = seconds[seconds >= 2]
    first, second = (
        (codes[seconds - back] | np.uint32(0x20)) - np.uint32(ord("a")) for back in (2, 1)
    )  # wraps below a
    starts: list[int] = (seconds[(first < 26) & (second < 26)] - 2).tolist()
    return starts


def _replaced(texts: Texts, owner: int, items: list[Found], masks: dict[str, str | None]) -> str:
    pieces, place = [], int(texts.starts[owner])
    for start, end, kind in items:
        pieces += [texts.joined[place:start], masks[kind] or ""]
        place = end
    return "".join([*pieces, texts.joined[place : int(texts.ends[owner])]])
