"""Cards and bank accounts need a right check digit, and a number with another name is neither."""

from __future__ import annotations

import pytest

from bessemer.clean.account_numbers import find_cards, find_iban


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("card 4012888888881881", ["4012888888881881"]),
        ("4012.8888.8888.1881, 4012 8888 8888 1881", ["4012.8888.8888.1881", "4012 8888 8888 1881"]),
        ("order 4012888888881881, card order no. 4012888888881881", ["4012888888881881"]),
        ("4012888888881882 x4012888888881881 4012 8888 8888 1881 4012", []),
    ],
)
def test_cards(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in find_cards(text, text, 0, len(text))] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GB29 NWBK 6016 1331 9268 19", "GB29 NWBK 6016 1331 9268 19"),
        ("NL91ABNA0417164300.", "NL91ABNA0417164300"),
        ("PL61 1090 1014 0000 0712 1981 2874 BANK", "PL61 1090 1014 0000 0712 1981 2874"),
        ("DE44-5001-0517-5407-3249-31", "DE44-5001-0517-5407-3249-31"),
        ("nl91 abna 0417 1643 00 for us", "nl91 abna 0417 1643 00"),
        ("gb29nwbk60161331926819", "gb29nwbk60161331926819"),
        ("at61 1904 3002 3457 3201 from us", "at61 1904 3002 3457 3201"),
        ("gb28nwbk60161331926819", None),
        ("Nl91 abna 0417 1643 00", None),
        ("GB28 NWBK 6016 1331 9268 19", None),
        ("XX29 NWBK 6016 1331 9268 19", None),
        ("GB29 NWBK 6016 1331 9268", None),
        ("NL91ABNA0417164300x", None),
    ],
)
def test_iban(text: str, expected: str | None) -> None:
    span = find_iban(text, 0)
    assert (text[slice(*span)] if span else None) == expected
