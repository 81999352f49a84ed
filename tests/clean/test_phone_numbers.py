"""Phone numbers of every country are found; other numbers, dates and ranges are not."""

from __future__ import annotations

import phonenumbers
import pytest

from bessemer.clean.lookalikes import number_text
from bessemer.clean.phone_numbers import REGIONS, find_phone_numbers
from bessemer.clean.texts import Texts

TYPES = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)


def found(text: str) -> list[str]:
    numbers, _ = number_text(Texts([text]))
    spans = find_phone_numbers(numbers, text, 0, len(text), 0)
    return [text[start:end] for start, end in sorted(spans)]


def examples(region: str, form: int) -> list[str]:
    numbers = [phonenumbers.example_number_for_type(region, kind) for kind in TYPES]
    return [phonenumbers.format_number(number, form) for number in numbers if number]


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_the_international_form_needs_no_label(region: str) -> None:
    for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164):
        for number in examples(region, form):
            assert found(f"see {number}, or later") == [number]


@pytest.mark.parametrize("region", sorted({*REGIONS} - {"BY"}))  # libphonenumber writes Belarus with two prefixes
def test_the_national_form_is_found_after_a_label(region: str) -> None:
    for number in examples(region, phonenumbers.PhoneNumberFormat.NATIONAL):
        assert found(f"Phone: {number}, or later") == [number]
        digits = "".join(filter(str.isdigit, number))
        assert found(f"Phone: {digits} or later") == [digits]


@pytest.mark.parametrize(
    "text",
    [
        "06 12 34 56 78", "020 7946 0018", "(11) 96123-4567", "8 (495) 123-45-67", "03-1234-5678", "010-2345-6789",
        "(02) 9876 5432", "0171 2345678", "030 / 2345678", "(212)555-0187",
    ],
)  # fmt: skip
def test_forms_that_need_no_label(text: str) -> None:
    assert found(f"see {text}.") == [text]
    assert found(f"order no. {text}.") == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("вечером 912-345-67-89", "912-345-67-89"),
        ("my number is 415 555 2671", "415 555 2671"),
        ("mi número es: 612 345 678", "612 345 678"),
        ("我的号码是13812345678", "13812345678"),
        ("210-1234567 τηλέφωνο", "210-1234567"),
        ("612 345 678 phone, 3 000", "612 345 678"),
    ],
)
def test_forms_without_trunk_prefix(text: str, number: str) -> None:
    assert found(text) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "120-125-13-12",
        "2024-01-02-03",
        "serial 912-345-67-89",
        "912-345-67-89-01",
        "the number is 612 345 678 900",
        "612 345 678 phones",
        "order number is 415 555 2671",
    ],
)
def test_other_numbers_without_trunk_prefix_stay(text: str) -> None:
    assert found(text) == []


def test_a_number_written_like_a_count_is_found_after_a_noun() -> None:
    assert found("Tel. 2200 1800") == ["2200 1800"]
    assert found("they sold phones for 2200 1800 times") == []


@pytest.mark.parametrize(
    "text",
    [
        "01 02 03 04 05", "10 20 30 40 50", "612 345 678", "12345678", "y = x +61234567890", "+49.123456",
        "2 + 49 30 901820", "call on 2012-09-30", "phones sold: 300 000 000", "call in 2005-2010",
        "00 1 2 3 4 5 6 7 8 9", "codes 002 003 004 005 006", "ring 0 1 2 3 4 5 6 7",
        "the call center took 1 200 300 calls", "mobile subscribers: 12 345 678", "a fax machine of 1843 and 1865 1871",
        "a mobile drive with room for 2400 / 200 files", "phones cost 3000/200 each", "modems dial 1200 2400 9600",
        "for i in 06 12 34 56 78 90 12", "2020-06-01T04:05:06.111111-04:00", "1970-01-01 02.12345678", "+35236450.6",
        "016.016.016.016", "call 016.016.016.016", "tel. 0.123456789",
        "pages 212-345-6789", "#415-555-2671", "$415-555-2671", "3.14.15.92.65",
    ],
)  # fmt: skip
def test_other_numbers_stay(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("电话13812345678-801", ["13812345678"]),
        ("Cell# 415 555 2671, Ph: 98765 43210", ["415 555 2671", "98765 43210"]),
        ("서울 02)312-3456", ["02)312-3456"]),
        ("(11)961234567", ["(11)961234567"]),
        ("Tel.: +49 4964 95816-120Fax: +49 4964 95816-29", ["+49 4964 95816-120", "+49 4964 95816-29"]),
        ("<PHONE> 612 345 678", []),
    ],
)
def test_context(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def test_a_number_ends_where_the_next_begins() -> None:
    assert found("Tel. 21 123 4567 / 912 345 678") == ["21 123 4567", "912 345 678"]
    assert found("+33 1 42 68 53 00 +33 1 42 68 53 01 2024") == ["+33 1 42 68 53 00", "+33 1 42 68 53 01"]
