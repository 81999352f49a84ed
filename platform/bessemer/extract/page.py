"""Extracts the text of one page or file: detects the kind of content, decodes it, and finds the main text.

All functions are pure. For any bytes, they return an `Extracted` or raise `Removed`. A page that may take long is
extracted in a child process, which ends after `CPU_SECONDS`. A page of ordinary content at the limits of bytes and
nodes takes about 25 s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bessemer.artifacts.charset import declared_in, decode
from bessemer.artifacts.ledger import Removed
from bessemer.child_process import ChildEnded, ChildProcess, OutOfTime
from bessemer.extract import html, main_text, plain
from bessemer.extract.page_metadata import page_metadata
from bessemer.extract.render import render
from bessemer.extract.settings import TextSettings

CPU_SECONDS = 60.0
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_MAYBE_HTML = frozenset({"", "application/xml", "text/xml", "application/octet-stream", "unknown", "no-type"})
_TEXT_TYPES = frozenset({"text/plain", "text/markdown", "text/x-markdown", "text/x-rst", "text/prs.fallenstein.rst"})
_LOOKS_LIKE_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|h1|div|p)\b", re.IGNORECASE)
_SOFT_HYPHEN = "\u00ad"  # marks a place where a browser may break a word
_MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x89PNG", "image/png"),
    (b"GIF8", "image/gif"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"{\\rtf", "application/rtf"),
    (b"\xd0\xcf\x11\xe0", "application/x-ole-storage"),
    (b"%!PS", "application/postscript"),
)


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a document, the metadata that it states, and the number of elements if it is HTML."""

    text: str
    metadata: dict[str, str] = field(default_factory=dict)
    html_nodes: int | None = None


def extract_page(content: bytes, media_type: str, charset: str | None, url: str, settings: TextSettings) -> Extracted:
    """Returns the main text of an HTML page, or a plain text unchanged. Raises Removed for all other content."""
    kind = _kind_of(content, media_type)
    if kind == "text":
        return extract_text(content, charset)
    if kind != "html":
        raise Removed("unsupported_content_type", evidence=kind)
    if len(content) > settings.max_page_bytes:
        raise Removed("too_large", value=len(content), threshold=settings.max_page_bytes)
    decoded = decode(content, charset, markup=True)
    if not decoded.readable:
        raise Removed("undecodable", evidence=f"declared {charset or declared_in(content)}")
    markup = decoded.markup()
    tree = html.parse(markup, max_nodes=settings.max_html_nodes)
    if not html.is_demanding(tree):
        return _extracted(tree, url, settings)
    try:
        return _child().call(_extract_markup, markup, url, settings)
    except OutOfTime as error:
        raise Removed("too_slow", threshold=CPU_SECONDS, evidence=str(error)) from None
    except ChildEnded as error:
        raise Removed("parser_error", evidence=str(error)) from None


@cache
def _child() -> ChildProcess:
    return ChildProcess(cpu_seconds=CPU_SECONDS)


def _extract_markup(markup: bytes, url: str, settings: TextSettings) -> Extracted:
    return _extracted(html.parse(markup, max_nodes=settings.max_html_nodes), url, settings)


def _extracted(tree: Any, url: str, settings: TextSettings) -> Extracted:
    """The text and metadata of a page. Raises Removed if there is none."""
    nodes = html.count_nodes(tree)
    main_text.prepare(tree)
    metadata = page_metadata(tree, url)
    body = main_text.main_body(
        tree,
        favor_precision=settings.favor_precision,
        include_tables=settings.include_tables,
        include_comments=settings.include_comments,
    )
    text = render(body, markdown=settings.output_format == "markdown").replace(_SOFT_HYPHEN, "")
    if not text:
        raise Removed("empty_text", evidence="no main text found")
    return Extracted(plain.well_formed(text), metadata, nodes)


def extract_text(content: bytes, charset: str | None = None, *, strip_gutenberg: bool = False) -> Extracted:
    """Decodes a text file. Raises Removed if the content is not text."""
    if not content:
        raise Removed("empty_text", evidence="nothing in it")
    if magic := _magic(content):
        raise Removed("binary", evidence=magic)
    decoded = decode(content, charset)
    if not decoded.readable:
        raise Removed("undecodable", evidence=f"declared {charset}" if charset else None)
    return extract_unicode(decoded.text, strip_gutenberg=strip_gutenberg)


def extract_unicode(text: str, *, strip_gutenberg: bool = False) -> Extracted:
    """Extracts a text that is already decoded. Raises Removed if it is not text."""
    text = plain.plain_text(text)
    return Extracted(plain.well_formed(plain.strip_gutenberg(text) if strip_gutenberg else text))


def _kind_of(content: bytes, media_type: str) -> str:
    """Returns `html`, `text`, or the media type of unsupported content."""
    if magic := _magic(content):
        return magic
    if media_type in _HTML_TYPES:
        return "html"
    if media_type in _TEXT_TYPES:
        return "text"
    if media_type in _MAYBE_HTML and _LOOKS_LIKE_HTML.search(content, 0, 2048):
        return "html"
    return media_type or "unknown"


def _magic(content: bytes) -> str | None:
    return next((name for magic, name in _MAGIC if content.startswith(magic)), None)
