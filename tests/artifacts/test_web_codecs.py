"""web_codecs: charsets decode, and queries of URLs encode, as in browsers."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.artifacts.web_codecs import charset_of, decode_charset, encode_query


@pytest.mark.parametrize(
    ("label", "charset"),
    [
        ("ISO-8859-1", "windows-1252"),
        (" latin1\n", "windows-1252"),
        ("us-ascii", "windows-1252"),
        ("gb2312", "gbk"),
        ("ks_c_5601-1987", "euc-kr"),
        ("big5-hkscs", "big5"),
        ("windows-31j", "shift_jis"),
        ("unicode", "utf-16le"),
        ("utf-16", "utf-16le"),
        ("cp437", "cp437"),
        ("utf-7", None),
        ("base64", None),
        ("undefined", None),
        ("unicode_escape", None),
        ("cp037", None),
        ("no such thing", None),
        ("", None),
    ],
)
def test_labels(label: str, charset: str | None) -> None:
    assert charset_of(label) == charset


@pytest.mark.parametrize(
    ("content", "charset", "text", "broken"),
    [
        (b"\x87\x40\x81\x60\xfb\xfc", "shift_jis", "\u2460\uff5e\u9ad9", 0),
        (b"\xad\xa1\xa1\xc1\xa1\xdd\x8f\xb0\xa1", "euc-jp", "\u2460\uff5e\uff0d\u4e02", 0),
        (b"\x80\xb8\xdb", "gbk", "\u20ac\u6e2f", 0),
        (b"\x95\x32\x82\x36", "gbk", "\U00020000", 0),
        (b"\x93\x94\x81", "windows-1252", "\u201c\u201d\x81", 1),
        (b"\xb1\xff\xd7\xb1", "koi8-r", "\u2560\u042a\u0432\u2560", 0),
        (b"\xff", "utf-8", "\ufffd", 1),
        (b"\xef\xbf\xbd", "utf-8", "\ufffd", 0),
    ],
)
def test_bytes_that_python_decodes_otherwise(content: bytes, charset: str, text: str, broken: int) -> None:
    assert decode_charset(content, charset) == (text, broken)


@pytest.mark.parametrize(
    ("query", "charset", "encoded"),
    [
        ("q=\u9ad9\u7e8a", "shift_jis", "q=%FB%FC%FA%5C"),
        ("q=\u6e2f\u53e3&x=1", "gbk", "q=%B8%DB%BF%DA&x=1"),
        ("q=\u8868", "shift_jis", "q=%95%5C"),
        ("q=\u043f\u043e\u0440\u0442", "windows-1251", "q=%EF%EE%F0%F2"),
        ("q=\u043f\u043e\u0440\u0442", "koi8-r", "q=%D0%CF%D2%D4"),
        ("q=\xe9\u6e2f", "windows-1252", "q=%E9%26%2328207%3B"),
        ("q=\u20ac\U00020000", "gbk", "q=%80%26%23131072%3B"),
        ("q=\u20ac\U00020000", "gb18030", "q=%A2%E3%952%826"),
        ("q=\u2460\uff5e\u2212\u7e8a", "euc-jp", "q=%AD%A1%A1%C1%A1%DD%F9%A1"),
        ("q=\u65e5\u672c", "iso-2022-jp", "q=%1B%24BF%7CK%5C%1B%28B"),
        ("q=\u5569\u6e2f", "big5", "q=%26%2321865%3B%B4%E4"),
        ("q=\xe9", "utf-16le", "q=%C3%A9"),
        ("q=a%20b", "gbk", "q=a%20b"),
    ],
)
def test_queries_are_written_in_the_charset_of_the_page(query: str, charset: str, encoded: str) -> None:
    assert encode_query(query, charset) == encoded


@settings(max_examples=300, deadline=None)
@given(
    st.characters(min_codepoint=0xA0, exclude_categories=["Cs"]),
    st.sampled_from(["gbk", "gb18030", "big5", "euc-kr", "windows-1251", "koi8-u", "iso-8859-2", "macintosh", "utf-8"]),
)
def test_a_character_that_is_encoded_decodes_to_itself(character: str, charset: str) -> None:
    encoded = encode_query(character, charset)
    assert encoded.isascii()
    if not encoded.startswith("%26%23"):
        assert decode_charset(unquote_to_bytes(encoded), charset) == (character, 0)
