"""Finds numbers of payment cards and bank accounts by their check digits.

- Card: 14 to 19 digits, in one piece or in groups as printed on cards, with an issuer's prefix and a correct check
  digit (Luhn). More than four groups of four are a row of a table. A number in one piece after `order` or `id` is not a
  card.
- IBAN: the code of a country in the SWIFT registry (ISO 13616), the length for that country, in one piece or in groups
  of four, all letters in one case, and a correct check number (modulo 97).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CARD = re.compile(
    r"""(?<![\w.+]) (?<!\d-) (?:
        \d{4}-\d{4}-\d{4}-\d{4}
        | \d{4}\.\d{4}\.\d{4}\.\d{4} (?!\.\d)
        | (?<!\b\d{4}[ ]) \d{4}[ ]\d{4}[ ]\d{4}[ ]\d{4} (?![ ]\d{4}\b)
        | \d{4} (?P<separator>[ -]) \d{6} (?P=separator) \d{4,5}
        | (?P<piece>\d{14,19})
    ) (?! \w | -\d )""",
    re.VERBOSE,
)
_ISSUED = re.compile(
    r"""3[47]\d{13} | 3(?:0[0-5]|[68]\d)\d{11}
    | (?=\d{16}(?:\d{3})?\Z)
      (?:4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|35(?:2[89]|[3-8])|6(?:011|4[4-9]|5|2))\d+""",
    re.VERBOSE,
)
_CARD_WORD = re.compile("card|visa|karte|carte|carta|tarjeta|cartão|kaart|карт|卡|カード|카드|บัตร|بطاقة|כרטיס", re.I)
_OTHER_NUMBER = re.compile(
    r"(?<![a-z])(?:order|invoice|item|id|isbn|parcel|product|receipt|ref|reference|serial|sku|ticket|time|timestamp|"
    r"tracking|transaction|uuid|epoch|bestellung|commande|pedido|ordine|заказ)\b\.?"
    r"(?:[ ]?(?:no|nr|number|id)\b\.?)?[\s:#=\"'-]*\Z"
    r"|(?:订单|單號|单号|编号|編號|注文番号|주문번호)[\s:：号號]*\Z",
    re.I,
)
"""Names of other kinds of numbers, directly before a number."""

_IBAN = re.compile(
    r"[A-Za-z]{2}\d\d(?:[A-Za-z0-9]{11,30}|(?:(?P<separator>[ -])[A-Za-z0-9]{4})(?:(?P=separator)[A-Za-z0-9]{4}){1,6}"
    r"(?:(?P=separator)[A-Za-z0-9]{1,3})?)(?![A-Za-z0-9])"
)
_REGISTRY = """NO:15 BE:16 DK:18 FI:18 FK:18 FO:18 GL:18 NL:18 SD:18 MK:19 SI:19 AT:20 BA:20 EE:20 KZ:20 LT:20
    LU:20 MN:20 XK:20 CH:21 HR:21 LI:21 LV:21 BG:22 BH:22 CR:22 DE:22 GB:22 GE:22 IE:22 ME:22 RS:22 VA:22 AE:23 GI:23
    IL:23 IQ:23 OM:23 SO:23 TL:23 AD:24 CZ:24 ES:24 MD:24 PK:24 RO:24 SA:24 SE:24 SK:24 TN:24 VG:24 LY:25 PT:25 ST:25
    IS:26 TR:26 BI:27 DJ:27 FR:27 GR:27 IT:27 MC:27 MR:27 SM:27 AL:28 AZ:28 BY:28 CY:28 DO:28 GT:28 HU:28 LB:28 NI:28
    PL:28 SV:28 BR:29 EG:29 PS:29 QA:29 UA:29 JO:30 KW:30 MU:30 YE:30 MT:31 SC:32 LC:32 RU:33"""
_IBAN_LENGTHS = dict(item.split(":") for item in _REGISTRY.split())
"""Country -> characters of an IBAN (SWIFT IBAN registry, release 99)."""


def find_cards(text: str, joined: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each card number in `text[start:end]`; `text` comes from `number_text` of `joined`."""
    for match in _CARD.finditer(text, start, end):
        digits = re.sub(r"\D", "", match[0])
        if not (_ISSUED.fullmatch(digits) and _luhn(digits)):
            continue
        before = _line_before(joined, match.start())
        if match["piece"] and _OTHER_NUMBER.search(before) and not _CARD_WORD.search(before):
            continue
        yield match.span()


def find_iban(text: str, start: int) -> tuple[int, int] | None:
    """(start, end) of the IBAN that starts at `start`, or None."""
    match = _IBAN.match(text, start)
    length = int(_IBAN_LENGTHS.get(text[start : start + 2].upper(), 0))
    before = text[max(0, start - 4) : start]
    if not match or not length or (before[-1:].isalnum() and before.upper() != "IBAN"):
        return None
    end, seen = start, 0
    for character in match[0]:  # cut off at the country's length: a word in capitals may follow
        end += 1
        seen += character.isalnum()
        if seen == length:
            break
    number = re.sub("[ -]", "", text[start:end])
    if len(number) != length or text[end : end + 1].isalnum() or number not in (number.upper(), number.lower()):
        return None
    value = "".join(str(int(character, 36)) for character in number[4:] + number[:4])
    return (start, end) if int(value) % 97 == 1 else None


def _luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _line_before(joined: str, start: int) -> str:
    return joined[max(0, start - 32) : start].rpartition("\n")[2]
