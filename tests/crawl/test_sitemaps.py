"""Sitemaps in every form they are found in, and broken ones."""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.crawl import limits
from bessemer.crawl.sitemaps import Listed, Sitemap, Unread, collect_urls, parse_sitemap

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
        gzip.compress(urlset("http://docs.test/a")[:60]) + gzip.compress(urlset("/a", "/b")[60:]),
        gzip.compress(urlset("http://docs.test/a", "/b"))[:-8] + b"checksum",
        gzip.compress(gzip.compress(urlset("/a", "/b"))),
        gzip.compress(b"http://docs.test/a\n") + gzip.compress(b"http://docs.test/b\n"),
        b"<br />\n<b>Warning</b>: x in y.php on line 3<br />\n<?xml version='1.0'?>" + urlset("/a", "/b"),
        b"Notice: undefined & unknown\n" + urlset("/a", "/b"),
        b"<?xml version='1.0'?>" + urlset("/a") + b"<?xml version='1.0'?>" + urlset("/b"),
        urlset("/a\x0b", "/b\x00"),
        b"<?xml version='1.0' encoding='windows-1251'?><!-- \xcf --><!DOCTYPE urlset>" + urlset("/a", "/b"),
        b"<urlset><url><loc>/a</loc></url></url></urlset><url><loc>/b</loc></url>",
        b"<urlset></x><url><loc>/a</loc></url></lastmod></y><url><loc>/b</loc></url></urlset></urlset>",
        b"<urlset><url><loc>/a</loc></url></loc></url></urlset><url><loc>/b</loc></url></urlset>",
        b"<urlset><url><loc>/a</url><url><loc>/b</loc></urlset>",
        b"<urlset><url><loc>/a<loc></url></URL><url><loc>/b</loc></url></file></urlset>",
        b"<urlset><!-- </urlset> --><url><loc><![CDATA[/a]]></loc></url></url><url><loc x='</b>'>/b</loc></url>",
        b"<s:urlset xmlns:s='x'><s:url><s:loc>/a</s:loc></s:url></s:url><s:url><s:loc>/b</s:loc></s:url></s:urlset>",
        b"http://docs.test/a\r\nhttp://docs.test/b\nnot an address\n",
        b"<rss><channel><link>http://docs.test/</link><item><link>http://docs.test/a</link></item>"
        b"<item><link>http://docs.test/b</link></item></channel></rss>",
        b'<feed><link href="/"/><entry><link href="/a"/><link rel="edit" href="/e"/></entry>'
        b'<entry><link rel="alternate" href="/b"/></entry></feed>',
    ],
)
def test_pages_of_every_format(content: bytes) -> None:
    read = parse_sitemap(content, URL)
    assert (read.pages, read.sitemaps, read.num_pages) == (["http://docs.test/a", "http://docs.test/b"], [], 2)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://docs.test/s?a=1&b=2", "http://docs.test/s?a=1&b=2"),
        ("http://docs.test/s?a=1&amp;b=2", "http://docs.test/s?a=1&b=2"),
        ("http://docs.test/s?a=1&#38;b=2", "http://docs.test/s?a=1&b=2"),
        ("http://docs.test/s?a=1&#x26;b=2&c", "http://docs.test/s?a=1&b=2&c"),
        ("http://docs.test/s?a=1&copy=2&lt=3", "http://docs.test/s?a=1&copy=2&lt=3"),
        ("http://docs.test/s?a=1&b;c=2", "http://docs.test/s?a=1&b;c=2"),
        ("http://docs.test/s?a&&b&", "http://docs.test/s?a&b"),
        ("http://docs.test/caf&eacute;?a=1&b=2", "http://docs.test/caf%C3%A9?a=1&b=2"),
        ("http://docs.test/caf&#233;", "http://docs.test/caf%C3%A9"),
        ("<![CDATA[http://docs.test/s?a=1&b=2]]>", "http://docs.test/s?a=1&b=2"),
        ("<![CDATA[http://docs.test/s?a=1&copy;=2]]>", "http://docs.test/s?a=1&copy;=2"),
        ("http://docs.test/\u043f\u043e\u0440\u0442", "http://docs.test/%D0%BF%D0%BE%D1%80%D1%82"),
    ],
)
def test_ampersands_spare_the_urls_around_them(written: str, url: str) -> None:
    content = urlset("http://docs.test/before", written, "http://docs.test/after?x&y")
    assert parse_sitemap(content, URL).pages == ["http://docs.test/before", url, "http://docs.test/after?x&y"]
    assert parse_sitemap(index(written), URL).sitemaps == [url]


def test_a_sitemap_is_decoded_as_declared() -> None:
    content = b"<?xml version='1.0' encoding='windows-1251'?>" + urlset("/\u043f").decode().encode("cp1251")
    assert parse_sitemap(content, URL).pages == ["http://docs.test/%D0%BF"]
    assert parse_sitemap("http://docs.test/\u043f".encode("cp1251"), URL, "windows-1251").pages == [
        "http://docs.test/%D0%BF"
    ]


def test_a_stream_that_breaks_off_or_is_damaged_gives_its_beginning() -> None:
    rows = random.Random(0).choices(range(10**9), k=20_000)
    content = gzip.compress(urlset(*(f"/{row}" for row in rows)))
    assert 5000 < len(parse_sitemap(content[: len(content) // 2], URL).pages) < 20_000
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    assert len(parse_sitemap(bytes(damaged), URL).pages) > 5000
    listed = {f"http://docs.test/{row}" for row in rows}
    for cut in range(len(content) // 2, len(content) // 2 + 20):
        assert listed.issuperset(parse_sitemap(content[:cut], URL).pages)


@pytest.mark.parametrize(
    "cut",
    [
        "<url><loc>http://a.test/2/long",
        "<url><loc><![CDATA[http://a.test/2/long",
        "<url><loc>http://a.test/2/long</lo",
        "<url><loc>http://a.test/2?a=1&am",
    ],
)
def test_a_url_that_the_end_of_the_file_breaks_off_is_left_out(cut: str) -> None:
    """A shortened URL names another page, or no page."""
    content = f"<urlset><url><loc>http://a.test/1</loc></url>{cut}".encode()
    expected = ["http://a.test/1"]
    if "</lo" in cut:
        expected.append("http://a.test/2/long")  # whole, only its end tag is cut
    assert parse_sitemap(content, "http://a.test/sitemap.xml").pages == expected


@pytest.mark.parametrize(
    ("content", "urls"),
    [
        ("<urlset><url><loc>http://a.test/?x<3&y=<></loc></url></urlset>", ["http://a.test/?x%3C3&y=%3C%3E"]),
        ("HTTP://a.test/1\n\tHttps://a.test/2\n", ["http://a.test/1", "https://a.test/2"]),
    ],
)
def test_signs_and_capitals_spare_the_url(content: str, urls: list[str]) -> None:
    assert parse_sitemap(content.encode(), "http://a.test/sitemap.xml").pages == urls


@pytest.mark.parametrize("piece", [b"<![CDATA[", b"&", b"&amp", b"<!DOCTYPE ", b"<?xml ", b"<url>", b"&#"])
def test_hostile_files_take_linear_time(piece: bytes) -> None:
    began = time.process_time()
    parse_sitemap(b"<urlset>" + piece * (300_000 // len(piece)), URL)
    assert time.process_time() - began < 20


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

    async def get(url: str) -> Sitemap | Unread:
        asked.append(url)
        return parse_sitemap(files[url], url) if url in files else Unread("http_404", 404.0)

    named = dict.fromkeys(["http://docs.test/s0", "http://docs.test/s9"], "http://docs.test/robots.txt")
    assert asyncio.run(collect_urls(named, get)) == [
        Listed("http://docs.test/b", "http://docs.test/s9"),
        Listed("http://docs.test/gone", "http://docs.test/s0", "http_404", 404.0),
        Listed("http://docs.test/a", "http://docs.test/s2"),
    ]
    assert len(asked) == len(set(asked)) == 5


def collected(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, **maximum: int) -> list[tuple[Any, ...]]:
    """The URLs of `/s0` and the sitemaps below it, without the host, under small limits."""
    for rule, limit in maximum.items():
        monkeypatch.setitem(limits.MAXIMUM, rule, limit)

    async def get(url: str) -> Sitemap | Unread:
        return parse_sitemap(files[url.removeprefix("http://docs.test")], url)

    found = asyncio.run(collect_urls({"http://docs.test/s0": ""}, get))
    return [(one.url.removeprefix("http://docs.test"), one.rule, one.value, one.threshold) for one in found]


def test_every_limit_names_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/s0": urlset("/a", "/b", "/a", "/c")}
    assert collected(files, monkeypatch, urls_per_sitemap=2) == [
        ("/s0", "urls_per_sitemap", 3.0, 2.0),
        ("/a", "", None, None),
        ("/b", "", None, None),
        ("/c", "urls_per_sitemap", 3.0, 2.0),
    ]
    many = {"/s0": index("/s1", "/s2", "/s3"), "/s1": urlset("/a"), "/s2": urlset("/b"), "/s3": urlset("/c")}
    assert collected(many, monkeypatch, sitemaps_per_site=2) == [
        ("/a", "", None, None),
        ("/s2", "sitemaps_per_site", None, 2.0),
        ("/s3", "sitemaps_per_site", None, 2.0),
    ]
    deep = {"/s0": index("/s1"), "/s1": index("/s2", "/s0"), "/s2": urlset("/a")}
    assert collected(deep, monkeypatch, sitemaps_per_site=99) == [("/a", "", None, None)]
    assert collected(deep, monkeypatch, sitemap_depth=2) == [("/s2", "sitemap_depth", None, 2.0)]


def test_the_number_of_urls_and_the_size_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/s0": index("/s1", "/s2"), "/s1": urlset("/a", "/b", "/c"), "/s2": urlset("/d")}
    assert collected(files, monkeypatch, urls_per_site=2) == [
        ("/a", "", None, None),
        ("/b", "", None, None),
        ("/s1", "urls_per_site", 3.0, 2.0),
        ("/s2", "urls_per_site", None, 2.0),
    ]
    size = len(urlset("/a"))
    large = {"/s0": gzip.compress(urlset("/a", "/b"))}
    assert collected(large, monkeypatch, sitemap_bytes=size, urls_per_site=99) == [
        ("/s0", "sitemap_bytes", size + 1.0, float(size)),
        ("/a", "", None, None),
    ]


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


@pytest.mark.parametrize(
    "piece", [b"</a>", b"<a>", b"<a b='", b"<!--", b"<![CDATA[", b"<?", b"<a/", b"<x</x>", b"<a b='c' "]
)
def test_unbalanced_tags_take_linear_time(piece: bytes) -> None:
    began = time.process_time()
    parse_sitemap(b"<urlset></z>" + piece * (200_000 // len(piece)) + b">", URL)
    assert time.process_time() - began < 10
