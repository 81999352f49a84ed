"""Links as a browser reads them, and the directives of pages for crawlers."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.web import page

from bessemer.crawl.links import Links, find_links, robots_directives

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


def test_a_base_of_a_megabyte_does_not_become_part_of_each_link() -> None:
    found = links(f'<base href="/{"x" * 1_000_000}/">' + page("b"))
    assert found.followed == ["http://docs.test/a/b"]


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
        ("", [("X-Robots-Tag", "max-snippet: 20, max-image-preview: large, noindex")], True, False),
        ("", [("X-Robots-Tag", "unavailable_after: Friday, 25-Jun-30 15:00:00 PST, nofollow")], False, True),
        ("", [("X-Robots-Tag", "otherbot: nofollow, bessemer: max-snippet: 0, noindex")], True, False),
        ("", [("X-Robots-Tag", "noindex, otherbot: nofollow")], True, False),
        ("", [("X-Robots-Tag", "max-image-preview: none")], False, False),
        ('<meta name="robots" content="noindex nofollow">', [], True, True),
        ('<meta name="robots" content=" NOINDEX;follow\n">', [], True, False),
        ('<meta name="robots" content="follow  noindex\u00a0noarchive">', [], True, False),
        ("", [("X-Robots-Tag", "noindex nofollow")], True, True),
        ("", [("X-Robots-Tag", "bessemer: noindex nofollow")], True, True),
        ("", [("X-Robots-Tag", "max-snippet: 20; noindex")], True, False),
        ("", [("X-Robots-Tag", "otherbot: noindex nofollow")], False, False),
        ("", [("X-Robots-Tag", "otherbot: noindex max-snippet: 5, nofollow")], False, False),
        ('<meta name="robots" content="noindexed, no-follow">', [], False, False),
        ('<meta name="robots" content="max-image-preview:none">', [], False, False),
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


@pytest.mark.parametrize(
    ("codec", "header", "meta", "word", "query"),
    [
        ("gbk", "gb2312", None, "\u9555", "%E9F"),
        ("gbk", None, "gb2312", "\u9555", "%E9F"),
        ("cp949", None, "ks_c_5601-1987", "\ud56d\uad6c", "%C7%D7%B1%B8"),
        ("big5hkscs", "big5-hkscs", None, "\u6e2f", "%B4%E4"),
        ("cp932", "Shift_JIS", None, "\u2460\u6e2f", "%87%40%8D%60"),
        ("cp932", None, "x-sjis", "\u8868", "%95%5C"),
        ("euc_jp", None, "euc-jp", "\u6e2f", "%B9%C1"),
        ("cp1251", "windows-1251", None, "\u043f\u043e\u0440\u0442", "%EF%EE%F0%F2"),
        ("cp1252", "iso-8859-1", None, "caf\xe9\u2026", "caf%E9%85"),
        ("utf-8", None, None, "\u043f\u043e\u0440\u0442", "%D0%BF%D0%BE%D1%80%D1%82"),
        ("utf-8", None, "utf-8", "\u6e2f", "%E6%B8%AF"),
        ("utf-8", "us-ascii", None, "caf\xe9", "caf%C3%A9"),
        ("utf-16", None, None, "caf\xe9", "caf%C3%A9"),
    ],
)
def test_links_and_directives_are_read_in_the_charset_of_the_page(
    codec: str, header: str | None, meta: str | None, word: str, query: str
) -> None:
    """The path of a link is requested in UTF-8, its query in the page's charset, as the URL Standard says."""
    declared = f'<meta charset="{meta}">' if meta else ""
    html = (
        f'<html><head><title>{word}</title>{declared}<meta name="robots" content="nofollow"></head>'
        f'<body>{word}<a href="/{word}/?q={word}#{word}">1</a><a href="plain">2</a></body></html>'
    )
    found = links(html.encode(codec), charset=header)
    path = quote(word.encode())
    assert found.not_followed == [f"http://docs.test/{path}/?q={query}", "http://docs.test/a/plain"]
    assert links(html.replace("nofollow", "noindex").encode(codec), charset=header).noindex


def test_a_charset_decides_queries_alone() -> None:
    html = '<meta charset="windows-1251"><base href="/\u043f/?x=\u043f"><a href="\u043f?q=&#1087;&amp;r=\u6e2f">x</a>'
    assert links(html.encode("cp1251", "xmlcharrefreplace"), charset=None).followed == [
        "http://docs.test/%D0%BF/%D0%BF?q=%EF&r=%26%2328207%3B"
    ]
    refresh = '<meta charset=gbk><meta http-equiv="refresh" content="0; url=/?q=\u6e2f">'
    assert links(refresh.encode("gbk"), charset=None).refresh == "http://docs.test/?q=%B8%DB"


@pytest.mark.parametrize(
    ("head", "target"),
    [
        ('<noscript><meta http-equiv="refresh" content="0; url=/no-scripts"></noscript>', None),
        ('<noscript><p><meta http-equiv="refresh" content="0; url=/no-scripts"></p></noscript>', None),
        ('<noscript><img src=x></noscript><meta http-equiv="refresh" content="0; url=/new">', "http://docs.test/new"),
        (
            '<noscript><meta http-equiv="refresh" content="0; url=/no-scripts"></noscript>'
            '<meta http-equiv="refresh" content="0; url=/new">',
            "http://docs.test/new",
        ),
    ],
)
def test_a_refresh_for_browsers_without_scripts_is_not_a_redirect(head: str, target: str | None) -> None:
    found = links(page("x", head=head))
    assert (found.refresh, found.followed) == (target, ["http://docs.test/a/x"])


@pytest.mark.parametrize("depth", [255, 3000, 50_000])
def test_links_at_any_depth(depth: int) -> None:
    """libxml2 ends the parse at 256 nested elements, or at 2048 if it builds a tree of a huge page."""
    html = "<div>" * depth + '<a href="deep">x</a>' + "</div>" * depth + '<a href="after">x</a>'
    assert links(html).followed == ["http://docs.test/a/deep", "http://docs.test/a/after"]


@pytest.mark.parametrize("before", ["<html />", "\0", "<html lang='de'/>\x01"])
def test_quirks_that_end_a_parse_early_cost_no_link(before: str) -> None:
    found = links(
        f'{before}<head><meta name="robots" content="noindex"></head><a href="x">x</a></html><a href="y">y</a>'
    )
    assert (found.followed, found.noindex) == (["http://docs.test/a/x", "http://docs.test/a/y"], True)


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["utf-8", None, "utf-16", "gbk"]))
def test_any_bytes_are_survived(payload: bytes, charset: str | None) -> None:
    find_links(payload, URL, charset=charset, token="x")
    find_links(b"<html><a href='" + payload, URL, charset=charset, token="x")


def test_links_beyond_the_limit_of_a_page_are_named_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = links(page(*(f"p{n}" for n in range(10_500)), "p3"))
    assert len(found.followed) == 10_000
    assert found.left_out == tuple(f"http://docs.test/a/p{n}" for n in range(10_000, 10_500))
    assert found.num_left_out == 500
    repeated = links(page(*["p1"] * 20_000, "p2", *["#top"] * 20_000))
    assert (len(repeated.followed), repeated.num_left_out) == (2, 0)
    monkeypatch.setattr("bessemer.crawl.links.RECORDED", 100)
    bounded = links(page(*(f"p{n}" for n in range(10_500))))
    assert (len(bounded.left_out), bounded.num_left_out) == (100, 500)
