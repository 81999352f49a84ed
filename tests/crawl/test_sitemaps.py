"""Sitemaps in every form they are found in, and broken ones."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.crawl import sitemaps
from bessemer.crawl.sitemaps import collect_urls, parse_sitemap

URL = "http://docs.test/sitemap.xml"


def urlset(*urls: str) -> bytes:
    entries = "".join(f"<url><loc>{url}</loc></url>" for url in urls)
    return f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</urlset>'.encode()


def index(*urls: str) -> bytes:
    entries = "".join(f"<sitemap><loc>{url}</loc></sitemap>" for url in urls)
    return f"<sitemapindex>{entries}</sitemapindex>".encode()


@pytest.mark.parametrize(
    "content",
    [
        urlset("http://docs.test/a", "http://docs.test/b"),
        b"\xef\xbb\xbf" + urlset("/a", " http://docs.test/b#x\n"),
        b"\n\n<?xml version='1.0'?>" + urlset("http://docs.test/a", "http://docs.test/b"),
        gzip.compress(urlset("http://docs.test/a", "http://docs.test/b")),
        gzip.compress(urlset("http://docs.test/a", "http://docs.test/b"))[:-9],
        urlset("http://docs.test/a", "http://docs.test/b", "mailto:x@docs.test")[:-30],
        urlset("http://docs.test/a", "http://docs.test/b").decode().encode("utf-16"),
        urlset("http://docs.test/a", "<![CDATA[http://docs.test/b]]>", "http://docs.test/a"),
        urlset("http://docs.test/a", "http://docs.test/b").replace(b"<loc>", b"<image:loc>/i</image:loc><loc>"),
        b"http://docs.test/a\r\nhttp://docs.test/b\nnot an address\n",
        b"<rss><channel><link>http://docs.test/</link><item><link>http://docs.test/a</link></item>"
        b"<item><link>http://docs.test/b</link></item></channel></rss>",
        b'<feed><link href="/"/><entry><link href="/a"/><link rel="edit" href="/e"/></entry>'
        b'<entry><link rel="alternate" href="/b"/></entry></feed>',
    ],
)
def test_pages_of_every_format(content: bytes) -> None:
    assert parse_sitemap(content, URL) == sitemaps.Sitemap(["http://docs.test/a", "http://docs.test/b"], [])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_garbage_holds_nothing_and_raises_nothing(content: bytes) -> None:
    assert parse_sitemap(content, URL).sitemaps == []
    assert parse_sitemap(b"<" + content, URL).pages == []


def test_entities_do_not_grow() -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "http://docs.test/a">{levels}]><urlset><url><loc>&e11;</loc></url></urlset>'
    assert parse_sitemap(bomb.encode(), URL).pages == []


def test_an_index_is_followed_once_and_not_for_ever() -> None:
    files = {
        "http://docs.test/s0": index("http://docs.test/s0", "http://docs.test/s1", "http://docs.test/gone"),
        "http://docs.test/s1": index("http://docs.test/s2"),
        "http://docs.test/s2": urlset("http://docs.test/a") + b" " * 10,
        "http://docs.test/s9": urlset("http://docs.test/b"),
    }
    asked = []

    async def get(url: str) -> sitemaps.Sitemap | None:
        asked.append(url)
        return parse_sitemap(files[url], url) if url in files else None

    pages, read = asyncio.run(collect_urls(["http://docs.test/s0", "http://docs.test/s9"], get))
    assert pages == ["http://docs.test/b", "http://docs.test/a"]
    assert read == ["http://docs.test/s0", "http://docs.test/s9", "http://docs.test/s1", "http://docs.test/s2"]
    assert len(asked) == len(set(asked)) == 5


def test_real_sitemaps(dataset: Callable[[str], Path]) -> None:
    """The fixtures of crawler-commons: extensions, foreign namespaces, text, gzip, feeds, an index without `loc`."""
    root = dataset("vec_robots") / "crawler_commons"
    counts = {
        path.name: len(parse_sitemap(path.read_bytes(), URL).pages)
        for folder in ("sitemaps", "sitemaps/extension", "rss")
        for path in (root / folder).iterdir()
        if path.is_file()
    }
    assert counts["hebdenbridgetimes-articles-sitemap.xml"] == 74
    assert counts["sitemap-images.xml"] == 1
    assert (
        counts["atom.xml"]
        == counts["sitemap.badns.xml"]
        == counts["sitemap.ns.xml"]
        == counts["sitemap-with-bom.txt"]
        == 2
    )
    assert counts["sitemap.txt.gz"] == counts["xmlSitemap.gz"] == 5
    assert [name for name, count in counts.items() if not count] == ["sitemap.index.xml"]
    assert len(parse_sitemap((root / "sitemaps/sitemap.index.xml").read_bytes(), URL).sitemaps) > 3
