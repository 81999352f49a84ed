"""charset: the right characters from what real files say and do not say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.extract.charset import codec_of, declared_in, decode

LANGUAGE = re.compile(r"(?<=\d)-[a-z]{5,}$")
AS_BROWSERS_READ = {"GB2312": "gb18030", "SHIFT_JIS": "cp932", "TIS-620": "cp874"}


def test_most_real_texts_in_legacy_encodings_are_read_as_they_were_meant(dataset: Callable[[str], Path]) -> None:
    """A folder's name is the true encoding. charset_normalizer alone reads 188 of the 211 files, we at least 198."""
    right = total = 0
    for folder in sorted(dataset("bad_inputs").joinpath("encodings_chardet").iterdir()):
        name = LANGUAGE.sub("", folder.name)
        codec = codec_of(AS_BROWSERS_READ.get(name, name.replace("MacCyrillic", "mac_cyrillic")))
        if codec is None:
            continue
        for path in sorted(folder.iterdir()):
            content = path.read_bytes()
            decoded = decode(content, markup=True)
            meant = content.decode(codec, "replace").lstrip("\ufeff")
            total += 1
            right += decoded is not None and decoded.text.lstrip("\ufeff") == meant
    assert total == 211
    assert right >= 198


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
def test_unicode_encodings_are_recognised(encoding: str) -> None:
    text = "Ein Text mit Umlauten: äöü. " * 5
    decoded = decode(text.encode(encoding))
    assert decoded is not None
    assert decoded.text == text


@given(st.text(alphabet=st.characters(codec="cp1251"), min_size=1))
@settings(deadline=None)
def test_what_is_valid_utf8_is_utf8_whatever_was_declared(text: str) -> None:
    content = text.encode()
    decoded = decode(content, "windows-1252")
    assert decoded is not None
    if b"\x1b" not in content and b"\0" not in content:
        assert decoded.text == text.removeprefix("\ufeff")


def test_a_declaration_decides_where_the_bytes_are_not_utf8() -> None:
    content = "Привет, мир".encode("cp1251")
    assert decode(content, "windows-1251").text == "Привет, мир"  # type: ignore[union-attr]
    page = b"<html><head><meta charset=windows-1251></head><p>" + content
    assert "Привет" in decode(page, markup=True).text  # type: ignore[union-attr]
    wrong_label = decode("naïve".encode("latin-1"), "no-such-charset")
    assert wrong_label is not None


def test_a_few_broken_bytes_do_not_turn_utf8_into_something_else() -> None:
    content = "größer ".encode() * 200 + b"\xff" + "schöner ".encode() * 200
    decoded = decode(content, "iso-8859-1")
    assert decoded is not None
    assert decoded.encoding == "utf-8"
    assert decoded.broken == 1
    cut = decode("größer".encode()[:4] * 1)
    assert cut is not None


def test_labels_mean_what_browsers_take_them_for() -> None:
    assert codec_of("ISO-8859-1") == codec_of("latin1") == "cp1252"
    assert codec_of("gb2312") == "gb18030"
    assert codec_of("utf-7") is None
    assert codec_of("base64") is None
    assert codec_of("undefined") is None  # a codec of Python's that raises
    assert codec_of("unicode_escape") is None
    assert codec_of("no such thing") is None
    assert declared_in(b'<?xml version="1.0" encoding="KOI8-R"?>') == "koi8-r"
    assert declared_in(b'<meta http-equiv=Content-Type content="text/html; charset=Shift_JIS">') == "shift_jis"


@given(st.binary(max_size=300), st.one_of(st.none(), st.text(max_size=20)))
@settings(max_examples=200, deadline=None)
def test_no_bytes_are_too_strange(content: bytes, declared: str | None) -> None:
    decoded = decode(content, declared, markup=True)
    if decoded is not None:
        assert decode(content, declared, markup=True) == decoded
