"""E-mail addresses are found with exact ends; logins, decorators and products are not addresses."""

from __future__ import annotations

import pytest

from bessemer.clean.email_addresses import find_emails
from bessemer.clean.texts import Texts


def found(text: str) -> list[str]:
    texts = Texts([text])
    return [text[start:end] for start, end in sorted(find_emails(texts.joined, texts.codes))]


@pytest.mark.parametrize(
    ("before", "address", "after"),
    [
        ("請寄", "chen@example.com.tw", "，謝謝"),
        ("あて先は", "sato@example.jp", "まで"),
        ("وللمزيدو", "info@example.sa", " شكرا"),
        ("x='", "dev@example.net", "'"),
        ("mailto:", "kim%40example.com", "?x=1"),
        ("？", "ｋｉｍ＠ｅｘａｍｐｌｅ．ｃｏｍ", "。"),
        ("", "a" * 90 + "@example.com", ""),
        ("", '"ann lee"@example.com', " said"),
        ("_", "eve@example.com", "_"),
        ("", "_eve_@example.com", " "),
        ("at ", "bob@example.com", ".Please write"),
        ("", "ann@xn--bcher-kva.xn--p1ai", ""),
        ("", "ivan@почта.рф", ""),
        ("", "bob@example.com", "-ra írjon"),
        ("", "bob@example.com", ": hello"),
        ("", "bob@example.com", ".it is here"),
        ("", "bob@example.com.br", ""),
    ],
)
def test_ends_are_exact(before: str, address: str, after: str) -> None:
    assert found(before + address + after) == [address]


@pytest.mark.parametrize(
    "text",
    [
        "image@2x.png getty@tty1.service pkg@1.2.3 user@localhost @user x@y",
        "git@github.com:org/tool.git root@db.example.org",
        "scp a.tar bob@example.com:/srv/ && ssh -i key bob@example.com",
        "rsync -a bob@example.com:photos/ .",
        "ssh://bob@example.com/ https://bob:pw@example.com/",
        "W@x.mean() q@k.to(device) A@B.T u@v.dot(w)",
        '{"a":"@example.com"} 他说这是一个非常长的句子@example.com',
    ],
)
def test_other_uses_of_the_sign_stay(text: str) -> None:
    assert found(text) == []
