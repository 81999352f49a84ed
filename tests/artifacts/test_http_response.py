"""http_response: heads, media types and bodies are read as browsers read them."""

from __future__ import annotations

import gzip
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.artifacts.http_response import (
    IncompleteBody,
    Payload,
    join_chunks,
    parse_head,
    read_payload,
    sniff_media_type,
    split_content_type,
    split_head,
)


@pytest.mark.parametrize(
    ("value", "media_type", "charset"),
    [
        ("text/html; charset=utf-8", "text/html", "utf-8"),
        ("TEXT/HTML", "text/html", None),
        ("  text/html ;CHARSET = gbk ;x", "text/html", "gbk"),
        ('text/html; charset="UTF-8"', "text/html", "utf-8"),
        ("text/html; charset='gbk'", "text/html", "gbk"),
        ("text/html charset=utf-8", "text/html", "utf-8"),
        ("text/html: charset=utf-8", "text/html", "utf-8"),
        ("text/html;;charset=utf-8", "text/html", "utf-8"),
        ("text/html,text/html; charset=utf-8", "text/html", "utf-8"),
        ("text/html; charset=gbk, text/html", "text/html", "gbk"),
        ("text/html; charset=gbk, text/plain", "text/plain", None),
        ("text/html, charset=gbk", "text/html", "gbk"),
        ("text/html; charset=iso-8859-1; charset=utf-8", "text/html", "iso-8859-1"),
        ('text/html; title="a, b/c"; charset=gbk', "text/html", "gbk"),
        ('"text/html"', "text/html", None),
        ("text/html; charset=", "text/html", None),
        ("html", "", None),
        ("charset=utf-8", "", "utf-8"),
        ("*/*", "", None),
        ("", "", None),
    ],
)
def test_content_types(value: str, media_type: str, charset: str | None) -> None:
    assert split_content_type(value) == (media_type, charset)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\n <!DOCTYPE html>", "text/html"),
        (b"<HTML>", "text/html"),
        (b"\xef\xbb\xbf<p >x", "text/html"),
        (b"<!-- a comment -->", "text/html"),
        ("\ufeff<html>".encode("utf-16-le"), "text/html"),
        (b"<abbr>is not one of the standard's tags", "text/plain"),
        (b"plain words", "text/plain"),
        ("\ufeffwords".encode("utf-16-le"), "text/plain"),
        (b"caf\xe9", "text/plain"),
        (b"%PDF-1.7", ""),
        (b"\x89PNG\r\n\x1a\n", ""),
        (b"<?xml version='1.0'?><feed/>", ""),
        (b"", ""),
    ],
)
def test_a_missing_type_is_sniffed(content: bytes, media_type: str) -> None:
    assert sniff_media_type(content) == media_type


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b", 200, "OK"),
        (b"HTTP/1.0 404", 404, ""),
        (b"http/1.1  200 Fine", 200, "Fine"),
        (b"HTTP/2 301", 301, ""),
        (b"ICY 200 OK", 200, "OK"),
        (b"HTTP 200 OK", 200, "OK"),
    ],
)
def test_status_lines(head: bytes, status: int, reason: str) -> None:
    read = parse_head(head)
    assert (read.status, read.reason) == (status, reason)


@pytest.mark.parametrize("head", [b"", b"<html>", b"HTTP/1.1 OK", b"HTTP/1.1 2000 OK", b"SSH-2.0-OpenSSH"])
def test_other_lines_are_not(head: bytes) -> None:
    with pytest.raises(ValueError, match="not an HTTP response"):
        parse_head(head)


def test_headers() -> None:
    head = parse_head(
        b"HTTP/1.1 200 OK\r\nX-Thing : a\r\nX-Long: one\r\n\t two\nX-Nul: a\0b\r\nX-Caf\xe9: \xe9t\xe9\r\n"
        b"no colon\r\n: no name\r\nx-thing: b\r\nX-Utf-8: \xc3\xa9"
    )
    assert head.texts() == [
        ("X-Thing", "a"),
        ("X-Long", "one  two"),
        ("X-Nul", "a b"),
        ("X-Caf\xe9", "\xe9t\xe9"),
        ("x-thing", "b"),
        ("X-Utf-8", "\xe9"),
    ]
    assert head.get("x-thing") == "a, b"


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        (b"Content-Length: 5", 5),
        (b"Content-Length: 5\r\nContent-Length: 5", 5),
        (b"Content-Length: 5, 5", 5),
        (b"Content-Length: 5\r\nTransfer-Encoding: Chunked", None),
        (b"Content-Length: -5", None),
        (b"Content-Length: five", None),
        (b"Content-Length: \xd9\xa3", None),
        (b"", None),
    ],
)
def test_lengths(headers: bytes, length: int | None) -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\n" + headers).content_length() == length


def test_lengths_that_disagree_are_an_error() -> None:
    with pytest.raises(ValueError, match="disagree"):
        parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6").content_length()


def test_a_body_that_breaks_off_is_taken_if_the_page_is_whole() -> None:
    page = b"<p>x</p></body>\n</html>\n"
    assert read_payload(page, "", "text/html", 100, complete=False) == Payload(page, "text/html", None)
    with pytest.raises(IncompleteBody):
        read_payload(page[:8], "", "text/html", 100, complete=False)
    compressed = gzip.compress(page + b" " * 5000 + bytes(range(200)))
    with pytest.raises(IncompleteBody):
        read_payload(compressed[:20], "gzip", "text/html", 10_000)


def test_compression_without_a_label_is_undone_for_text_alone() -> None:
    body = gzip.compress(b"<p>x</p>")
    assert read_payload(body, "", "text/html", 100).content == b"<p>x</p>"
    assert read_payload(gzip.compress(body), "gzip", "text/html", 100).content == b"<p>x</p>"
    assert read_payload(body, "", "application/gzip", 100).content == body
    assert read_payload(gzip.compress(bytes(1000)), "", "text/html", 100).content == gzip.compress(bytes(1000))


def test_endless_compression_is_refused() -> None:
    """Some gzip files decompress to themselves."""
    body = b"<p>x</p>"
    for _ in range(6):
        body = gzip.compress(body)
    with pytest.raises(ValueError, match="compressed more than 4 times"):
        read_payload(body, "", "text/html", 1000)


@pytest.mark.parametrize(
    ("body", "joined"),
    [
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5;name=value\r\nhello\r\n 2 \r\n!!\r\n0\r\nTrailer: x\r\n\r\n", b"hello!!"),
        (b"5\nhello\r\n0\r\n", b"hello"),
        (b"5\r\nhello\r\nzz\r\n", b"hellozz\r\n"),
        (b"<p>no chunks</p>", b"<p>no chunks</p>"),
        (b"10\r\nbreaks off", b"breaks off"),
    ],
)
def test_chunks(body: bytes, joined: bytes) -> None:
    assert join_chunks(body) == joined


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_head_is_read_or_refused(head: bytes) -> None:
    parse_head(b"HTTP/1.1 200 " + head).content_length if b"ength" not in head.lower() else None
    split_head(head)
    split_content_type(head.decode("latin-1"))


@pytest.mark.parametrize("piece", [b"\r", b" ", b"= ", b"='", b'"', b'=" ', b"a/", b"\n ", b"\n\r\r x", b"a: b\r\n"])
def test_hostile_heads_take_linear_time(piece: bytes) -> None:
    began = time.process_time()
    head = b"HTTP/1.1 200 OK\r\n" + piece * (256_000 // len(piece))
    split_head(head)
    parse_head(head).get("a")
    split_content_type("charset" + piece.decode() * (256_000 // len(piece)))
    assert time.process_time() - began < 10
