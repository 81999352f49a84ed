"""One page has one canonical URL: as the standard parses it, idempotent, and nothing that could matter changed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.crawl.urls import authority_of, canonical_url, host_of, origin_of

BASE = "http://docs.test/library/statistics.html?page=2"


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Docs.TEST:80/a/../b/./c#top", "http://docs.test/b/c"),
        ("https://docs.test:443", "https://docs.test/"),
        ("https://docs.test:8443/", "https://docs.test:8443/"),
        ("http://docs.test./a", "http://docs.test/a"),
        ("http://user:secret@docs.test/a", "http://docs.test/a"),
        ("http://docs.test/%7Euser/%e4%b8", "http://docs.test/~user/%E4%B8"),
        ("http://docs.test/a b|c?q=[x]", "http://docs.test/a%20b%7Cc?q=%5Bx%5D"),
        ("http://docs.test/100%", "http://docs.test/100%25"),
        ("http://bücher.test/straße", "http://xn--bcher-kva.test/stra%C3%9Fe"),
        ("http://docs.test/?", "http://docs.test/"),
        ("http://docs.test/?utm_source=x&id=7&gclid=1#a", "http://docs.test/?id=7"),
        ("http://docs.test/?b=2&a=1&PHPSESSID=9", "http://docs.test/?b=2&a=1"),
        ("http://docs.test/shop;jsessionid=AB12?x=1", "http://docs.test/shop?x=1"),
        ("http://docs.test/(S(lit3py55t21z5v55vlm25s55))/a", "http://docs.test/a"),
        ("http://docs.test//a//b", "http://docs.test//a//b"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
        ("mailto:someone@docs.test", None),
        ("javascript:alert(1)", None),
        ("ftp://docs.test/a", None),
        ("http://", None),
        ("http://a b/", None),
        ("docs.test/a", None),
        ("", None),
        ("\ud800", None),
    ],
)
def test_canonical_form(url: str, canonical: str | None) -> None:
    assert canonical_url(url) == canonical


@pytest.mark.parametrize(
    ("href", "absolute"),
    [
        ("median.html", "http://docs.test/library/median.html"),
        ("/about", "http://docs.test/about"),
        ("//other.test/x", "http://other.test/x"),
        ("?page=3", "http://docs.test/library/statistics.html?page=3"),
        ("#fmean", BASE),
        ("../..//x", "http://docs.test//x"),
        ("https:relative", "https://relative/"),
        (" \tmedian.html\n", "http://docs.test/library/median.html"),
    ],
)
def test_links_are_joined_to_their_page(href: str, absolute: str) -> None:
    assert canonical_url(href, BASE) == absolute


@settings(deadline=None)
@given(st.text(max_size=60), st.sampled_from(["", BASE]))
def test_any_text_gives_a_fixed_point_or_nothing(text: str, base: str) -> None:
    once = canonical_url(text, base)
    assert once is None or canonical_url(once) == once
    again = canonical_url(f"http://h.test/{text}")
    assert again is None or canonical_url(again) == again


def test_parts() -> None:
    assert authority_of("https://a.test:8443/x") == "a.test:8443"
    assert host_of("https://a.test:8443/x") == "a.test"
    assert host_of("http://[::1]:80/x") == host_of("http://[::1]/x") == "[::1]"
    assert origin_of("https://a.test:8443/x?y") == "https://a.test:8443"


def test_web_platform_vectors(dataset: Callable[[str], Path]) -> None:
    """The WHATWG test data: every HTTP URL is parsed as browsers do, everything else is refused."""
    cases = [c for c in json.loads((dataset("vec_urls") / "wpt/urltestdata.json").read_text()) if isinstance(c, dict)]
    seen = 0
    for case in cases:
        found = canonical_url(case["input"], case.get("base") or "")
        if case.get("failure") or not case["href"].startswith(("http://", "https://")):
            assert found is None, case
        else:
            seen += 1
            assert found == canonical_url(case["href"]), case
            assert found is None or canonical_url(found) == found
    assert seen > 200


def test_crawler_commons_vectors(dataset: Callable[[str], Path]) -> None:
    """Nutch's normaliser agrees, but where it sorts parameters or merges slashes (we leave both: they may mean
    something), where it drops `=` after an empty value, and on schemes that are not the Web's."""
    path = dataset("vec_robots") / "crawler_commons/normalizer/weirdToNormalizedUrls.csv"
    rows = [
        [field.strip() for field in row]
        for row in csv.reader(path.read_text().splitlines(), skipinitialspace=True)
        if len(row) == 2 and not row[0].startswith("#")
    ]
    differ = [(url, expected) for url, expected in rows if canonical_url(url) != expected]
    assert len(rows) > 100
    for url, _ in differ:
        assert "//" in url[8:] or "&" in url or url.endswith("=") or not url.startswith("http://") or "////" in url
    assert len(differ) <= 26
