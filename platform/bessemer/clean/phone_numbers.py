"""Finds phone numbers, in international form and in the national forms of 89 countries.

Patterns propose candidates. libphonenumber's metadata (the package `phonenumbers`) decides whether a candidate is valid
in its country. The conditions depend on the form of the number:

- `+49 30 901820`, `0049 ...`, `011 49 ...`: the number must be valid.
- `(415) 555-2671`, `415-555-2671`, `415.555.2671`: the North American form is sufficient.
- `912-345-67-89`: the number must be valid in a country that groups all digits in this way.
- `06 12 34 56 78`, `(11) 91234-5678`, `8 (912) 345-67-89`: the number must be valid in a country that writes the first
  group in this way.
- other national numbers, such as `612 345 678`: a label such as `Tel.`, `电话` or `call` must precede it on the same
  line.

A national number is not a phone number after the name of another kind of number (`pages`, `order`), or if it is part of
a longer row of numbers.

Cost: 10 to 200 microseconds per candidate. Text without seven digits close together has no candidates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from bessemer.clean.phone_context import (
    REACH,
    WINDOW,
    follows_noun,
    is_labelled,
    is_labelled_after,
    line_before,
    may_be_labelled,
    names_other_number,
)

REGIONS = (
    *("US", "CA", "MX", "BR", "AR", "CL", "CO", "PE", "VE", "EC", "BO", "UY", "PY", "CR", "GT", "DO"),
    *("GB", "IE", "FR", "BE", "NL", "LU", "DE", "AT", "CH", "IT", "ES", "PT", "DK", "NO", "SE", "FI", "IS"),
    *("PL", "CZ", "SK", "HU", "RO", "BG", "GR", "CY", "TR", "RU", "UA", "BY", "KZ", "EE", "LV", "LT", "HR", "SI"),
    *("RS", "IL", "EG", "SA", "AE", "JO", "LB", "IQ", "IR", "MA", "DZ", "TN", "PK", "IN", "BD", "LK", "NP"),
    *("TH", "VN", "KH", "MM", "ID", "MY", "SG", "PH", "CN", "HK", "TW", "JP", "KR", "AU", "NZ"),
    *("ZA", "NG", "KE", "GH", "TZ", "ET"),
)
"""Countries with supported national forms."""

_NANP = re.compile(
    r"""(?<![\w+/#-]) (?<!\d[.:]) (?<![$€£¥]) (?:
        (?:1[ .-]?)? \([2-9]\d\d\)[ .-]?[2-9]\d\d[ .-]?\d{4}
        | (?:1[ .-])? [2-9]\d\d (?P<separator>[.-]) [2-9]\d\d (?P=separator) \d{4}
    ) (?! [^\W_x] | [.-]\d )""",
    re.VERBOSE,
)
_SEPARATOR = r"[ ./()-]{0,3}"
_SEVEN_DIGITS = re.compile(rf"\d(?:{_SEPARATOR}\d){{6}}")
"""A part that occurs in every form."""
_INTERNATIONAL = re.compile(
    rf"(?<![\w+])(?<!\d[./-])\(?(?P<prefix>\+ ?|00[ -]?(?=[1-9])|011[ -])[1-9](?:{_SEPARATOR}\d){{6,16}}"
)
_TRUNK = re.compile(
    r"""(?<![\w+/#-]) (?<!\d[.:]) (?<![$€£¥]) (?<!\d[ ,]) (?<![A-Z]>[ ,]) (?:
        \(0\d{1,5}\)[ .-]?\d{2,9}
        | 0[1-9]\d{0,4}(?:[ ]?[/-][ ]?|[ .])\d{2,9}
        | 0\d{1,3}\)[ ]?\d{3,4}
        | 0\d{1,4}\(\d{1,4}\)\d{4}
        | \([1-9]\d{1,2}\)[ ]?9\d{8}
        | \([1-9]\d{1,3}\)[ ]?\d{3,5}
        | 8[ -]?\(?\d{3,4}\)?[ -]\d{2,3}
    ) (?:[ .-]\d{2,8}){0,4}""",
    re.VERBOSE,
)
_DASHED = re.compile(r"(?<![\w+/#.-])(?<!\d[ ,])\d{2,4}(?:-\d{2,4}){3,4}(?!\w|[ ,]?-?\d)")
_CHINESE_MOBILE = re.compile(r"(?<![\w+/#-])(?<!\d\.)1[3-9]\d(?P<separator>[ -]?)\d{4}(?P=separator)\d{4}(?!\w|[.-]\d)")
_ANY = re.compile(rf"(?<![\w+-])(?<!\d[ .:])(?<![A-Z]>[ .:])(?<![$€£¥])\(?\d(?:{_SEPARATOR}\d){{6,14}}")

_OPERAND = re.compile(r"=\s*[\w.)\]]+ ?\Z|[\d)\]]\s?\Z")
"""Text after which a `+` is an addition."""
_KOREAN = re.compile(r"0\d{1,3}\)[^()]*\Z")
"""An area code as in `02)312-3456`."""
_EXTENSION = re.compile(r"-\d{1,4}(?![\w-])")
_GROUP = re.compile(r"\d+")
_WRITTEN_AS_PHONE = re.compile(r"\d[ .)-]+\d+[ .-]\d{3,}[ .-]\d{3,}\Z")
"""Groups as in `+64 9 123 4567`. A number in this form is a phone number even if it is not assigned."""
_NO_PHONE = re.compile(
    r"(?:19|20)\d\d([./-])\d\d?\1\d\d?|\d\d?([./-])\d\d?\2(?:19|20)\d\d"  # dates
    r"|(\d\d)\d\d[ ]?-[ ]?\3\d\d"  # ranges of years and pages
    r"|\d{1,3}(?:[ .]000)+"  # amounts
    r"|\d+\.\d+|\d+\.\d+[ ]-?\d+\.\d+|\d{1,3}(?:\.\d{1,3}){3}"  # decimal fractions, IP addresses
)
_COUNT = re.compile(
    r"[1-9]\d?(?: \d{3})+"  # thousands
    r"|(?:(?:1\d|20)\d\d|\d{1,2}00)(?:[ ]?[/-]?[ ]?(?:(?:1\d|20)\d\d|\d{1,2}00))+"  # years, sizes, quotients
)
"""Numbers as in `1 200 300 calls`, `2400 / 200`: phone numbers only right after a noun such as `Phone:`."""
_ONE_FULL_STOP = re.compile(r"\(?\+ ?\d+\.\d+")
_CHINESE = re.compile(r"[\u3400-\u9fff]")

_NUM_DIGITS_WITHOUT_SEPARATOR = 9
"""Minimum number of digits of a labelled number in one piece. Shorter numbers are more often counts."""


_EndOf = Callable[[str, str, re.Match[str], int], int | None]


class _Plan(NamedTuple):
    """The numbering plan of one country."""

    region: str
    trunk: str
    valid: re.Pattern[str]


def find_phone_numbers(text: str, joined: str, start: int, end: int, floor: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each number in `text[start:end]`, in no order; `text` comes from `number_text` of `joined`.

    `floor` is the start of the document.
    """
    if not _SEVEN_DIGITS.search(text, start, end):
        return
    found: list[tuple[int, int]] = []
    around = joined[max(floor, start - WINDOW) : end + REACH]
    for pattern, end_of, can_occur in _FORMS:
        if not can_occur(around):
            continue
        place = start
        while match := pattern.search(text, place, end):
            first = match.start()
            free = all(first < other or first >= after for other, after in found)
            last = end_of(text, joined, match, floor) if free else None
            if last is None:
                place = _after_group(text, first)
            else:
                place = last
                found.append((first, last))
                yield first, last


def _after_group(text: str, start: int) -> int:
    """End of the first group of digits from `start`."""
    group = _GROUP.search(text, start)
    assert group, "a number begins here"
    return group.end()


# ------------------------------------------------------------------------------------- the end of a number, or None


def _end_international(text: str, joined: str, match: re.Match[str], floor: int) -> int | None:
    first, prefix = match.start(), match["prefix"]
    before = line_before(joined, first, floor)
    if prefix[0] == "+" and _OPERAND.search(before) and (prefix == "+ " or match[0][1:].isdigit()):
        return None
    if prefix == "+ " and before[-2:].strip()[-1:].isalnum():
        return None
    labelled = is_labelled(joined, first, floor)
    for last in _ends(text, match):
        written = text[first:last]
        digits = re.sub(r"\D", "", written)
        if prefix[0] != "+" and not labelled and (digits == written or 2 * len(_GROUP.findall(written)) > len(digits)):
            continue  # a code that begins with zeros, or a row of small numbers
        if prefix[0] != "+" and _ascends(tuple(_GROUP.findall(written))):
            continue
        if _ONE_FULL_STOP.fullmatch(written) and not labelled:
            continue  # a decimal fraction with a sign
        if prefix[0] != "+":
            digits = digits.removeprefix("011" if prefix[1] == "1" else "00")
        lenient = bool(_WRITTEN_AS_PHONE.search(written)) or (labelled and digits != written[1:])
        if _is_valid_international(digits, lenient):
            return last
    return None


def _end_north_american(text: str, joined: str, match: re.Match[str], floor: int) -> int | None:
    return None if names_other_number(line_before(joined, match.start(), floor)) else match.end()


def _end_with_trunk_prefix(text: str, joined: str, match: re.Match[str], floor: int) -> int | None:
    first = match.start()
    if names_other_number(line_before(joined, first, floor)):
        return None
    for last in _ends(text, match):
        groups = tuple(_GROUP.findall(text, first, last))
        separators = re.findall(r"(?<=\d)[^\d()](?=\d)", text[first + len(groups[0]) + 2 : last])
        num_digits = sum(map(len, groups))
        if num_digits < 9 or (num_digits < 10 and len(groups) < 3) or len(set(separators)) > 1:
            continue
        if _continues_row(text, first, last) or _ascends(groups) or _NO_PHONE.fullmatch(text, first, last):
            continue
        if _is_written_like(groups, match[0][0] == "("):
            return last
    return None


def _end_dashed(text: str, joined: str, match: re.Match[str], floor: int) -> int | None:
    groups = tuple(_GROUP.findall(match[0]))
    if names_other_number(line_before(joined, match.start(), floor)) or not 9 <= sum(map(len, groups)) <= 11:
        return None
    return None if _ascends(groups) or not _is_grouped_like(groups) else match.end()


def _end_chinese(text: str, joined: str, match: re.Match[str], floor: int) -> int | None:
    before = line_before(joined, match.start(), floor)
    fits = _CHINESE.search(before) and not names_other_number(before) and _is_valid_in("CN", match[0])
    return match.end() if fits else None


def _end_labelled(text: str, joined: str, match: re.Match[str], floor: int) -> int | None:
    first = match.start()
    labelled, before = is_labelled(joined, first, floor), line_before(joined, first, floor)
    if names_other_number(before):
        return None
    is_named = follows_noun(before)
    for last in _ends(text, match):
        written = text[first:last]
        digits = re.sub(r"\D", "", written)
        in_one_piece = written.isdigit() and not is_named
        if len(digits) < (_NUM_DIGITS_WITHOUT_SEPARATOR if in_one_piece else 7) or _NO_PHONE.fullmatch(written):
            continue
        if (not is_named and _COUNT.fullmatch(written)) or _ascends(tuple(_GROUP.findall(written))):
            continue
        if not labelled and not is_labelled_after(joined, last):
            continue
        if not _continues_row(text, first, last) and _is_valid_somewhere(digits):
            return last
    return None


_FORMS: tuple[tuple[re.Pattern[str], _EndOf, Callable[[str], bool]], ...] = (
    (
        _INTERNATIONAL,
        _end_international,
        lambda text: not text.isascii() or "+" in text or "00" in text or "011" in text,
    ),
    (_NANP, _end_north_american, lambda text: not text.isascii() or any(sign in text for sign in "(-.")),
    (_TRUNK, _end_with_trunk_prefix, lambda text: True),
    (_DASHED, _end_dashed, lambda text: text.count("-") > 2 or not text.isascii()),
    (_CHINESE_MOBILE, _end_chinese, lambda text: bool(_CHINESE.search(text))),
    (_ANY, _end_labelled, may_be_labelled),
)
"""The forms of a number, most certain first: (pattern, check that returns the end, quick test of the text around
it)."""


# --------------------------------------------------------------------------------------------------- text around it


def _ends(text: str, match: re.Match[str]) -> Iterator[int]:
    """Ends of the digit groups of a candidate, last first. Omits an end at which a word or number continues."""
    first = match.start()
    for group in reversed(list(re.finditer(r"\d+\)?", match[0]))):
        last = first + group.end()
        written = text[first:last]
        if group[0].endswith(")") and (written.count("(") < written.count(")")):
            last -= 1
            written = written[:-1]
        after = text[last : last + 2]
        word_goes_on = after[:1].isalnum() and after[:1] not in "xX" and not after.istitle()
        number_goes_on = after[:1] in (".", "-") and after[1:].isdigit()
        if len(group[0]) >= 7 and _EXTENSION.match(text, last):
            number_goes_on = False
        balanced = written.count("(") == written.count(")") or _KOREAN.match(written)
        if balanced and not word_goes_on and not number_goes_on:
            yield last


def _continues_row(text: str, first: int, last: int) -> bool:
    """Whether a blank and another group of the same length follow, as in a row of a table."""
    groups, after = _GROUP.findall(text, first, last), re.match(r" (\d+)", text[last : last + 12])
    return bool(after and " " in text[first:last] and len(after[1]) == len(groups[-1]))


def _ascends(groups: tuple[str, ...]) -> bool:
    """Whether the groups ascend in steps of 1, 2, 5 or 10, as in the list 01 02 03 04 05."""
    steps = {int(after) - int(before) for before, after in pairwise(groups)}
    return len(groups) > 2 and len(steps) == 1 and steps <= {1, 2, 5, 10} and len({len(group) for group in groups}) == 1


# ------------------------------------------------------------------------------------------------------- validity


@lru_cache(maxsize=1 << 14)
def _is_valid_international(digits: str, lenient: bool) -> bool:
    """Whether `+digits` is a valid number in its country. With `lenient`, only its length must be possible."""
    import phonenumbers

    if not 7 <= len(digits) <= 17 or not any(
        int(digits[:size]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE for size in (1, 2, 3)
    ):
        return False
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return False
    if phonenumbers.is_valid_number(number):
        return True
    return lenient and len(digits) >= 10 and number.country_code != 1 and phonenumbers.is_possible_number(number)


@lru_cache(maxsize=1 << 14)
def _is_valid_somewhere(digits: str) -> bool:
    return any(_is_valid_in(plan.region, digits) for plan in _plans() if _fits(plan, digits))


@lru_cache(maxsize=1 << 14)
def _is_written_like(groups: tuple[str, ...], bracketed: bool) -> bool:
    """Whether the number is valid in a country that writes the first group in this form: trunk and area code, or
    brackets."""
    digits = "".join(groups)
    for plan in _plans():
        dialled = digits.startswith(plan.trunk) if plan.trunk and not bracketed else digits[0] == "0" or bracketed
        if dialled and _fits(plan, digits) and _is_valid_in(plan.region, digits):
            expected = _national_groups(plan.region, digits)
            first = groups[0] if groups[0] != plan.trunk else groups[0] + groups[1]
            expected_first = expected[0] if expected[0] != plan.trunk else "".join(expected[:2])
            mobile = first.startswith("01") and expected_first.startswith(first)  # 0151 2345678 is 01512 345678
            if len(first) >= 2 and (first == expected_first or mobile):
                return True
    return False


@lru_cache(maxsize=1 << 14)
def _is_grouped_like(groups: tuple[str, ...]) -> bool:
    """Whether the number is valid in a country that groups all digits in this way, without the trunk prefix."""
    digits = "".join(groups)
    return any(
        _is_valid_in(plan.region, digits) and _without_trunk(plan, digits) == groups
        for plan in _plans()
        if plan.valid.fullmatch(digits)
    )


def _without_trunk(plan: _Plan, digits: str) -> tuple[str, ...]:
    groups = _national_groups(plan.region, digits)
    if plan.trunk and groups[0] == plan.trunk:
        return tuple(groups[1:])
    return (groups[0].removeprefix(plan.trunk), *groups[1:])


def _fits(plan: _Plan, digits: str) -> bool:
    """A quick test that runs before libphonenumber's."""
    national = digits.removeprefix(plan.trunk)
    return bool(plan.valid.fullmatch(national) or plan.valid.fullmatch(digits))


def _is_valid_in(region: str, digits: str) -> bool:
    number = _parsed(region, digits)
    if number is None:
        return False
    import phonenumbers

    return bool(phonenumbers.is_valid_number_for_region(number, region))


def _national_groups(region: str, digits: str) -> list[str]:
    import phonenumbers

    written = phonenumbers.format_number(_parsed(region, digits), phonenumbers.PhoneNumberFormat.NATIONAL)
    return re.findall(r"\d+", written)


def _parsed(region: str, digits: str) -> Any:
    import phonenumbers

    try:
        return phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None


@cache
def _plans() -> tuple[_Plan, ...]:
    import phonenumbers

    plans = []
    for region in REGIONS:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        assert metadata is not None, region
        pattern = metadata.general_desc.national_number_pattern if metadata.general_desc else None
        assert pattern is not None, region
        valid = re.compile(pattern)
        plans.append(_Plan(region, metadata.national_prefix or "", valid))
    return tuple(plans)
