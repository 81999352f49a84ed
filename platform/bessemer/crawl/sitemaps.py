"""The pages that a site says it has: sitemaps.org files, and what people serve in their place.

A file may be an XML `urlset` or `sitemapindex` (with or without namespaces, also broken), an RSS or Atom feed, or plain
text with one URL a line; gzip or not. A damaged file gives what could be read of it. Limits keep a hostile or merely
huge site from filling memory: the standard's 50 MB and 50 000 URLs a file, and `MAX_FILES` and `MAX_URLS` a site.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from lxml import etree

from bessemer.crawl.urls import canonical_url

MAX_BYTES = 50 << 20
MAX_URLS_PER_FILE = 50_000
MAX_FILES = 200
MAX_URLS = 1_000_000
MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Sitemap:
    """Canonical URLs, each once, in the file's order: pages, and further sitemaps of an index."""

    pages: list[str]
    sitemaps: list[str]


async def collect_urls(
    roots: Iterable[str], get: Callable[[str], Awaitable[Sitemap | None]]
) -> tuple[list[str], list[str]]:
    """(pages, sitemaps read) of a site, from its sitemaps and those that they name, level by level."""
    pages: dict[str, None] = {}
    read: dict[str, None] = {}
    level = list(dict.fromkeys(roots))
    for _ in range(MAX_DEPTH):
        following: dict[str, None] = {}
        for url in level:
            if url in read or len(read) >= MAX_FILES or len(pages) >= MAX_URLS:
                continue
            sitemap = await get(url)
            if sitemap is None:
                continue
            read[url] = None
            pages.update(dict.fromkeys(sitemap.pages))
            following.update(dict.fromkeys(sitemap.sitemaps))
        level = list(following)
    return list(pages)[:MAX_URLS], list(read)


def parse_sitemap(content: bytes, url: str) -> Sitemap:
    """The URLs in a sitemap file found at `url`; never raises."""
    content = _decompress(content).lstrip()
    beginning = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if beginning != b"<" and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        lines = content.decode("utf-8-sig", "replace").splitlines()
        return Sitemap(_canonical((line for line in lines if line.strip().startswith("http")), url), [])
    parser = etree.XMLParser(
        recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, remove_comments=True
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError):
        return Sitemap([], [])
    if root is None:
        return Sitemap([], [])
    pages: list[str] = []
    sitemaps: list[str] = []
    for element in root.iter(etree.Element):
        name, parent = _local_name(element), element.getparent()
        inside = _local_name(parent) if parent is not None else ""
        text = (element.text or "").strip()
        if name == "loc" and inside in ("url", "urlset"):
            pages.append(text)
        elif name in ("loc", "sitemap") and inside in ("sitemap", "sitemapindex"):
            sitemaps.append(text)  # some leave out `loc` and write the address into `sitemap`
        elif name == "link" and inside in ("item", "entry") and element.get("rel", "alternate") == "alternate":
            pages.append(text or element.get("href", ""))
    return Sitemap(_canonical(pages, url), _canonical(sitemaps, url))


def _canonical(urls: Iterable[str], base: str) -> list[str]:
    found = (canonical_url(text.strip(), base) for text in urls if text.strip())
    return list(dict.fromkeys(url for url in found if url))[:MAX_URLS_PER_FILE]


def _local_name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _decompress(content: bytes) -> bytes:
    """Undoes gzip as far as it goes, up to `MAX_BYTES`."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, MAX_BYTES)
    except zlib.error:
        return b""
