"""Links as a browser sees them, and what pages ask of crawlers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.crawl.links import Links, find_links, robots_directives
from web import page

URL = "http://docs.test/a/page.html"


def links(html: str | bytes, charset: str | None = "utf-8", headers: list[tuple[str, str]] | None = None) -> Links:
    payload = html.encode() if isinstance(html, str) else html
    return find_links(payload, URL, charset=charset, token="Bessemer", headers=headers or [])


def test_links_in_order_each_once_without_the_page_itself() -> None:
    found = links(page("b.html", "/c", "b.html#part", "#top", "page.html", "?x=1", "//other.test/", "mailto:a@b", ""))
    assert found.followed == [
        "http://docs.test/a/b.html",
        "http://docs.test/c",
        "http://docs.test/a/page.html?x=1",
        "http://other.test/",
    ]


def test_all_kinds_of_links() -> None:
    html = """<base href="/base/"><link rel="canonical" href="canon"><link rel=stylesheet href=style.css>
    <link rel="alternate" type="application/rss+xml" href="feed"><link rel="alternate" hreflang="de" href="de/">
    <link rel="next" href="2"><map><area href="area"></map><iframe src="frame"></iframe><a name="x">no link</a>
    <a href=" spa\nced ">x</a><A HREF='upper'>x</A><a href="&quot;q&amp;r">x</a>"""
    assert [url.removeprefix("http://docs.test/base/") for url in links(html).followed] == [
        *("canon", "de/", "2", "area", "frame", "spaced", "upper", "%22q&r")
    ]


def test_nofollow() -> None:
    html = (
        page("x")
        + '<a rel="nofollow ugc" href="y">y</a><a rel="nofollow" href="x">x</a><a rel="external" href="z">z</a>'
    )
    found = links(html)
    assert (found.followed, found.not_followed) == (
        ["http://docs.test/a/x", "http://docs.test/a/z"],
        ["http://docs.test/a/y"],
    )


@pytest.mark.parametrize(
    ("head", "headers", "noindex", "nofollow"),
    [
        ("", [], False, False),
        ('<meta name="robots" content="NOINDEX">', [], True, False),
        ('<META NAME="ROBOTS" CONTENT="noarchive, nofollow">', [], False, True),
        ('<meta name="robots" content="none">', [], True, True),
        ('<meta name="bessemer" content="noindex">', [], True, False),
        ('<meta name="otherbot" content="noindex">', [], False, False),
        ("", [("X-Robots-Tag", "noindex, nofollow")], True, True),
        ("", [("x-robots-tag", "Bessemer: noindex")], True, False),
        ("", [("X-Robots-Tag", "otherbot: noindex, nofollow")], False, False),
        ("", [("X-Robots-Tag", "unavailable_after: 25 Jun 2030 15:00:00 PST"), ("X-Robots-Tag", "none")], True, True),
    ],
)
def test_robots_directives(head: str, headers: list[tuple[str, str]], noindex: bool, nofollow: bool) -> None:
    found = links(page("x", head=head), headers=headers)
    assert found.noindex is noindex
    assert bool(found.not_followed) is nofollow
    if headers:
        assert ("noindex" in robots_directives(headers, "bessemer")) is noindex


@pytest.mark.parametrize(
    ("content", "target", "link"),
    [
        ("0; url=/new", "http://docs.test/new", None),
        ("0;URL='new.html'", "http://docs.test/a/new.html", None),
        ("5, http://other.test/", "http://other.test/", None),
        ("0.5;url=/new", "http://docs.test/new", None),
        ("60; url=/later", None, "http://docs.test/later"),
        ("30", None, None),
        ("0; url=page.html", None, None),
        ("0; url=javascript:x()", None, None),
        ("nonsense", None, None),
    ],
)
def test_refresh(content: str, target: str | None, link: str | None) -> None:
    found = links(page(head=f'<meta http-equiv="Refresh" content="{content}">'))
    assert found.refresh == target
    assert found.followed == ([link] if link else [])


@pytest.mark.parametrize("charset", ["utf-8", None, "windows-1252", "no-such-charset", "utf-16", ""])
def test_a_charset_that_is_wrong_or_unknown_costs_no_link(charset: str | None) -> None:
    encoding = "utf-16" if charset == "utf-16" else "utf-8"
    found = links(page("x", text="ü ß €").encode(encoding), charset=charset)
    assert found.followed == ["http://docs.test/a/x"]


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["utf-8", None, "utf-16", "gbk"]))
def test_any_bytes_are_survived(payload: bytes, charset: str | None) -> None:
    find_links(payload, URL, charset=charset, token="x")
    find_links(b"<html><a href='" + payload, URL, charset=charset, token="x")


def test_deep_nesting_and_many_links_are_bounded() -> None:
    assert links("<div>" * 100_000 + '<a href="x">').noindex is False
    assert len(links(page(*(f"p{n}" for n in range(20_000)))).followed) == 10_000
