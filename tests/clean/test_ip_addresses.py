"""Public addresses are found; versions, sections and private addresses are not."""

from __future__ import annotations

import pytest

from bessemer.clean.ip_addresses import find_ipv4


def found(text: str) -> list[str]:
    return [text[start:end] for start, end in find_ipv4(text, text, 0, len(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 93.184.216.34–93.184.216.40".replace("–", "-"), ["93.184.216.34", "93.184.216.40"]),
        ("http://93.184.216.34:80/ and 52.1.2.3/24", ["93.184.216.34", "52.1.2.3"]),
        ("IP 1.2.3.4, ping 1.1.1.4, 1.2.3.5:8080, 1.2.3.0/24", ["1.2.3.4", "1.1.1.4", "1.2.3.5", "1.2.3.0"]),
        ("as in 1.1.1.4 and 3.2.1.7", []),
        ("Firefox/3.6.13.1 Chrome/120.0.60.109 FileVersion: 61.0.19.41 Version=4.0.30.31 версия 61.2.3.4", []),
        ("12.05.1980.01 2023.10.12.01 61.02.03.04 1.3.6.1.4.1 300.1.2.3", []),
        ("10.1.2.3 127.0.0.1 192.168.1.1 203.0.113.9 224.0.0.5", []),
    ],
)
def test_addresses(text: str, expected: list[str]) -> None:
    assert found(text) == expected
