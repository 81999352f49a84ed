"""page: any bytes give a text or a reason; type and content decide between HTML and plain text."""

from __future__ import annotations

import logging
import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.artifacts.ledger import Removed
from bessemer.extract import html, page
from bessemer.extract.page import extract_page, extract_text
from bessemer.extract.settings import TextSettings

SENTENCE = "Dieser Satz gehört zum Text der Seite und ist lang genug, um gefunden zu werden. "
PAGE = f"<html><head><title>T</title></head><body><article><p>{SENTENCE * 5}</p></article></body></html>"


def outcome(content: bytes, media_type: str = "text/html", charset: str | None = None, **changes: object) -> str:
    try:
        settings = TextSettings(**changes)  # type: ignore[arg-type]
        return extract_page(content, media_type, charset, "https://a.test/", settings).text
    except Removed as refused:
        return f"refused: {refused.rule}"


@pytest.mark.parametrize("media_type", ["text/html", "application/xhtml+xml", "", "application/xml", "no-type"])
def test_html_by_its_type_or_by_its_looks(media_type: str) -> None:
    assert outcome(PAGE.encode(), media_type) == (SENTENCE * 5).strip()


@pytest.mark.parametrize(
    ("content", "media_type", "rule"),
    [
        (b"%PDF-1.7 ...", "text/html", "unsupported_content_type"),
        (b"{}", "application/json", "unsupported_content_type"),
        (b"<rss><channel/></rss>", "application/xml", "unsupported_content_type"),
        (b"", "text/html", "empty_text"),
        (b"", "text/plain", "empty_text"),
        (b"\x00\x01\x02\x03" * 50, "text/plain", "binary"),
        (b"just words", "text/html", "not_html"),
        (bytes(range(128, 256)) * 8, "text/plain", "undecodable"),
        (b"<html>" + b"<p>x" * 4000, "text/html", "too_large"),
        (b"<html>" + b"<p>x" * 3000, "text/html", "too_many_nodes"),
    ],
)
def test_every_refusal_has_its_rule(content: bytes, media_type: str, rule: str) -> None:
    assert outcome(content, media_type, max_page_bytes=15_000, max_html_nodes=2000) == f"refused: {rule}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "cp1252"])
def test_the_charset_of_the_page_is_found(encoding: str) -> None:
    page = PAGE.replace("<head>", f"<head><meta charset={encoding}>").encode(encoding)
    assert outcome(page) == (SENTENCE * 5).strip()
    assert outcome(PAGE.encode(encoding), charset=encoding) == (SENTENCE * 5).strip()


def test_plain_text_passes_as_it_is() -> None:
    assert outcome("a  b\r\n\r\nä".encode(), "text/markdown") == "a  b\n\nä"
    assert extract_text("größer".encode("cp1252"), "cp1252").text == "größer"


def test_a_demanding_page_has_the_same_text_in_the_child_process(monkeypatch: pytest.MonkeyPatch) -> None:
    html_page = PAGE.replace(
        "</article>", "".join(f"<h2>{n}</h2><p>{SENTENCE}</p>" for n in range(1600)) + "</article>"
    )
    there = extract_page(html_page.encode(), "text/html", None, "https://a.test/2024/05/06/", TextSettings())
    monkeypatch.setattr(html, "is_demanding", lambda tree: False)
    assert extract_page(html_page.encode(), "text/html", None, "https://a.test/2024/05/06/", TextSettings()) == there
    assert there.metadata["date"] == "2024-05-06"
    assert there.text.count(SENTENCE.strip()) >= 1600


def test_a_page_that_takes_hours_or_kills_the_extractor_has_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extractor looks at each cell once per cell of its row."""
    monkeypatch.setattr(page._child(), "cpu_seconds", 1.0)
    cells = b"<table><tr>" + b"<td>cell" * 20_000
    assert outcome(cells) == "refused: too_slow"
    monkeypatch.setattr(page, "_extract_markup", kill)
    assert outcome(cells) == "refused: parser_error"


def kill(*_: object) -> None:
    """Ends its process; at the top of the module, so that the child finds it."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_library_says_nothing_about_bad_pages(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        outcome(b"<html><body><p></p><table></table>")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))),
    st.sampled_from(["text/html", "text/plain", "", "application/xml", "image/png"]),
    st.one_of(st.none(), st.sampled_from(["utf-8", "windows-1251", "utf-16", "nonsense"])),
    st.sampled_from([b"", b"<html><body><p>", b"<table><tr><td>", b"<ul><li><pre>"]),
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_the_same_outcome_twice(
    content: bytes, media_type: str, charset: str | None, beginning: bytes
) -> None:
    first = outcome(beginning + content, media_type, charset, output_format="markdown")
    assert first == outcome(beginning + content, media_type, charset, output_format="markdown")
    first.encode()
