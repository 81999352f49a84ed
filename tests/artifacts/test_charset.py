"""charset: the right characters, from the bytes, the declarations and the defects of real files."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.artifacts.charset import declared_in, decode
from bessemer.artifacts.web_codecs import charset_of, decode_charset

LANGUAGE = re.compile(r"(?<=\d)-[a-z]{5,}$")


def test_most_real_texts_in_legacy_encodings_are_read_as_they_were_meant(dataset: Callable[[str], Path]) -> None:
    """A folder's name is the true encoding. charset_normalizer alone reads 188 of the 211 files, we at least 198."""
    right = total = 0
    for folder in sorted(dataset("bad_inputs").joinpath("encodings_chardet").iterdir()):
        name = LANGUAGE.sub("", folder.name)
        charset = charset_of(name.replace("MacCyrillic", "mac_cyrillic"))
        if charset is None:
            continue
        for path in sorted(folder.iterdir()):
            content = path.read_bytes()
            decoded = decode(content, markup=True)
            meant = decode_charset(content, charset)[0].lstrip("\ufeff")
            total += 1
            right += decoded.text.lstrip("\ufeff") == meant
    assert total == 211
    assert right >= 198


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
def test_unicode_encodings_are_recognised(encoding: str) -> None:
    text = "Ein Text mit Umlauten: äöü. " * 5
    assert decode(text.encode(encoding)).text == text


@given(st.text(alphabet=st.characters(codec="cp1251"), min_size=1))
@settings(deadline=None)
def test_valid_utf8_is_utf8_against_a_label_of_single_bytes(text: str) -> None:
    content = text.encode()
    if b"\x1b" not in content and b"\0" not in content:
        assert decode(content, "windows-1252").text == text.removeprefix("\ufeff")


CHINESE = "朱镕基总理今天在港口说"
PAGES = [
    ("gb2312", None, "gbk", "朱镕基 在港口"),
    ("GB_2312-80", None, "gbk", CHINESE),
    ("gbk", None, "gb18030", "㐀 港口"),
    (None, "gb2312", "gbk", "朱镕基 在港口"),
    ("ks_c_5601-1987", None, "cp949", "똠방각하 항구"),
    (None, "ks_c_5601-1987", "cp949", "항구 뉴스"),
    ("big5-hkscs", None, "big5hkscs", "嘅咗 港口"),
    ("big5", None, "big5hkscs", "啲嘢 港口"),
    ("shift_jis", None, "cp932", "① 港 ～ 髙橋"),
    (None, "x-sjis", "cp932", "株式会社 ㈱ 港"),
    ("euc-jp", None, "euc_jp", "港の新聞"),
    ("iso-2022-jp", None, "iso2022_jp", "港の新聞"),
    (None, None, "utf-8", "Порт"),
    (None, "windows-1251", "cp1251", "Порт и город"),
    ("us-ascii", None, "utf-8", "café"),
    ("us-ascii", None, "cp1252", "“café”"),
    ("iso-8859-1", None, "cp1252", "“quoted” – dash…"),
    ("iso-8859-9", None, "cp1254", "İstanbul’da ışık"),
    ("tis-620", None, "cp874", "ท่าเรือ…"),
    (None, "utf-16", "utf-8", "café"),
    (None, "no-such-charset", "utf-8", "café"),
    ("no-such-charset", "koi8-r", "koi8_r", "Порт"),
    ("utf-8", "windows-1251", "cp1251", "Порт и город"),
]


@pytest.mark.parametrize(("header", "meta", "codec", "text"), PAGES)
def test_labels_are_read_as_browsers_read_them(header: str | None, meta: str | None, codec: str, text: str) -> None:
    declaration = f'<meta http-equiv="Content-Type" content="text/html; charset={meta}">' if meta else ""
    page = f"<html><head><title>{text}</title>{declaration}</head><body><p>{text}</p></body></html>"
    decoded = decode(page.encode(codec), header, markup=True)
    assert (decoded.text, decoded.broken, decoded.readable) == (page, 0, True)


def test_a_few_characters_that_are_valid_in_two_charsets_follow_the_label() -> None:
    """The GBK bytes of these two characters are valid UTF-8 too, for two characters of another script."""
    content = "<p>谩茅</p>".encode("gbk")
    assert content.decode("utf-8") == "<p>áé</p>"
    assert decode(content, "gb2312").text == "<p>谩茅</p>"
    assert decode(content).text == "<p>áé</p>"
    assert decode("<p>港口新闻</p>".encode(), "gb2312").text == "<p>港口新闻</p>"


def test_ascii_keeps_the_stated_charset_for_the_queries_of_its_links() -> None:
    assert decode(b'<meta charset="windows-1251"><a href="?q=&#1087;">', markup=True).encoding == "windows-1251"
    assert decode(b"<p>text</p>", "Shift_JIS").encoding == "shift_jis"
    assert decode(b"<p>text</p>", "utf-16").encoding == "utf-8"
    assert decode(b"<p>text</p>", "cp037").text == "<p>text</p>"  # EBCDIC
    assert decode(b"<p>text</p>").encoding == "utf-8"


def test_a_label_without_sense_is_passed_over() -> None:
    cyrillic = "Привет, мир".encode("cp1251")
    assert decode(cyrillic, "windows-1251").text == "Привет, мир"
    assert decode(b"<meta charset=windows-1251><p>" + cyrillic, "utf-8", markup=True).text.endswith("Привет, мир")
    assert decode("naïve café über".encode("latin-1"), "no-such-charset").readable
    assert decode("п".encode("cp1251"), "windows-1251").text == "п"  # and not the beginning of a UTF-8 sequence


def test_a_few_broken_bytes_do_not_turn_utf8_into_another_charset() -> None:
    content = "größer ".encode() * 200 + b"\xff" + "schöner ".encode() * 200
    decoded = decode(content, "iso-8859-1")
    assert (decoded.encoding, decoded.broken) == ("utf-8", 1)
    assert decode("größer".encode()[:4]).text.startswith("gr")


def test_bytes_of_no_charset_are_not_readable() -> None:
    noise = bytes((b * 7 + b // 3) % 256 for b in range(5000))
    decoded = decode(noise)
    assert not decoded.readable
    assert decoded.text


@pytest.mark.parametrize(
    ("html", "label"),
    [
        ('<meta charset="windows-1251">', "windows-1251"),
        ("<meta http-equiv=Content-Type content='text/html; charset=Shift_JIS'>", "shift_jis"),
        ("<meta content='text/html; charset = \"koi8-r\"' HTTP-EQUIV=content-type>", "koi8-r"),
        ("<title>A long title</title><link rel=x><meta charset=gbk>", "gbk"),
        ("<!-- <meta charset=gbk> --><meta charset=big5>", "big5"),
        ("<!--><meta charset=big5>", "big5"),
        ("<script>write('<meta charset=gbk>')</script><meta charset=big5>", "big5"),
        ("<title><meta charset=gbk></title><meta charset=big5>", "big5"),
        ("<a title='<meta charset=gbk>'><meta charset=big5>", "big5"),
        ("<meta name=description content='charset=gbk'>", None),
        ("<meta http-equiv=content-type content='text/html'><meta charset=big5>", "big5"),
        ("<meta charset=nonsense><meta charset=big5>", "big5"),
        ("<meta charset=utf-16le>", "utf-8"),
        ("<metadata charset=gbk>", None),
        ("<meta/charset='gbk'/>", "gbk"),
        ('<?xml version="1.0" encoding="KOI8-R"?><html>', "koi8-r"),
        ('<?xml version="1.0" encoding="KOI8-R"?><meta charset=gbk>', "gbk"),
        ("<p>" + "x" * 5000 + "<meta charset=gbk>", "gbk"),
        ("charset=gbk", None),
        ("<meta charset=gbk", "gbk"),
        ("<!-- <meta charset=gbk>", None),
    ],
)
def test_the_declaration_of_a_page(html: str, label: str | None) -> None:
    assert declared_in(html.encode()) == label


def test_markup_is_whole_for_libxml2() -> None:
    """Control characters and a self-closed root end the parse of libxml2 early."""
    assert decode(b"\xef\xbb\xbf<HTML lang=de />\0<p>a\x01b\t</p>").markup() == b"<HTML lang=de><p>ab\t</p>"


@given(st.binary(max_size=300), st.one_of(st.none(), st.text(max_size=20)))
@settings(max_examples=200, deadline=None)
def test_no_bytes_are_too_strange(content: bytes, declared: str | None) -> None:
    assert decode(content, declared, markup=True) == decode(content, declared, markup=True)
    decode(b"<meta" + content, declared, markup=True).markup()


@pytest.mark.parametrize("piece", [b"<meta ", b"<!--", b"<script>", b"<!", b"<a b='", b"<", b"</x "])
def test_hostile_markup_takes_linear_time(piece: bytes) -> None:
    """400 KB takes some tenths of a second; a search that is quadratic takes minutes."""
    began = time.process_time()
    declared_in(piece * (400_000 // len(piece)) + b"<meta charset=nonsense>")
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Año nuevo",
            "Füße",
            "naïve",
            "El niño",
            "Ça va?",
            "État",
            "it’s",
            "“Œuvre”",
            "Ærø",
            "Smörgås",
            "Crème brûlée",
        ),
        "Mañana en la playa: año, niño, señor",
    ],
)
def test_a_short_page_of_windows_1252_is_not_taken_for_chinese(text: str) -> None:
    page = f"<html><body><p>{text}</p></body></html>"
    assert decode(page.encode("cp1252"), markup=True).text == page


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("cp932", "日本語のページです"),
        ("cp932", "カタカナ"),
        ("cp949", "안녕하세요 세계"),
        ("gb18030", "中文网页测试，你好世界，这是一个关于计算机科学的页面"),
    ],
)
def test_a_short_page_of_another_script_is_not_taken_for_latin(codec: str, text: str) -> None:
    assert decode(f"<p>{text}</p>".encode(codec), markup=True).text == f"<p>{text}</p>"


@pytest.mark.parametrize("name", ["DEU008.txt", "DEU009.txt"])
def test_quotation_marks_are_not_letters_of_another_charset(dataset: Callable[[str], Path], name: str) -> None:
    """German novels without a declared charset: `»So,«` of ISO 8859-1 is `ťSo,Ť` in ISO 8859-2."""
    text = (dataset("text_multi") / "de" / name).read_text("utf-8")
    content = text.encode("latin-1", "ignore")
    assert decode(content).text == content.decode("latin-1")
