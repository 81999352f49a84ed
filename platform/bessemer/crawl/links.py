"""The links of a page, and its directives for crawlers.

The page is decoded in the same way as for its text (`artifacts.charset`); libxml2 parses it in about a millisecond per
30 KB. Links come from `a`, `area`, frames and `link rel=canonical|next|prev|alternate`, relative to `base href`, with
queries in the page's charset. The crawl obeys `rel=nofollow`, `meta name=robots` and the `X-Robots-Tag` header
(`noindex`, `nofollow`, `none`), including directives for our product token. A `meta` refresh within `REDIRECT_SECONDS`
counts as a redirect, as in search engines; a later one is a link. A refresh inside `noscript` is ignored, because it is
for browsers without scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lxml import etree

from bessemer.artifacts.charset import decode
from bessemer.crawl.limits import LINKS_PER_PAGE, MAXIMUM, RECORDED
from bessemer.crawl.scope import MAX_URL_LENGTH
from bessemer.crawl.urls import canonical_url

REDIRECT_SECONDS = 5.0

_FOLLOWED_RELATIONS = {"canonical", "next", "prev", "previous", "alternate"}
_WITH_LINKS = frozenset({"a", "area", "link", "base", "meta", "frame", "iframe"})
_SKIPPED_SCHEMES = ("#", "mailto:", "javascript:", "data:", "tel:", "ftp:", "about:", "blob:", "file:", "sms:")
_REFRESH = re.compile(r"\s*(\d{0,9}(?:\.\d*)?)\s*[;,\s]\s*(?:url\s*=\s*)?[\"']?\s*([^\"']*)", re.IGNORECASE)
_WITH_VALUE = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})
_SPACES = re.compile(r"[\t\r\n]+")
_VALUED = re.compile(r"\bmax-[a-z-]+\s*:\s*[^\s,;]*")  # `max-image-preview: none` is not `none`
_BETWEEN_WORDS = re.compile(r"[\s,;]+")


@dataclass(frozen=True, slots=True)
class Links:
    """`followed` and `not_followed` are canonical URLs, each once, in order of appearance."""

    followed: list[str]
    not_followed: list[str]
    left_out: tuple[str, ...] = ()
    """Links beyond the limit of a page, at most `RECORDED`."""
    num_left_out: int = 0
    refresh: str | None = None
    """The target of an immediate `meta` refresh."""
    noindex: bool = False


def find_links(
    payload: bytes, url: str, *, charset: str | None, token: str, headers: Iterable[tuple[str, str]] = ()
) -> Links:
    """The links of an HTML page. Never raises: bytes without HTML have no links."""
    directives = robots_directives(headers, token)
    decoded = decode(payload, charset, markup=True)
    base, refresh = url, None
    hrefs: list[tuple[str, bool]] = []
    base_seen = False
    for tag, attributes, in_noscript in _elements(decoded.markup()):
        get = attributes.get
        if tag in ("a", "area"):
            hrefs.append((get("href", ""), _has_word(get("rel", ""), "nofollow")))
        elif tag == "link":
            if _FOLLOWED_RELATIONS & set(get("rel", "").lower().split()) and not _is_feed(get("type", "")):
                hrefs.append((get("href", ""), False))
        elif tag == "base":
            if get("href") and not base_seen:
                base_seen = True
                stated = canonical_url(_SPACES.sub("", get("href", "").strip()), url, decoded.encoding)
                base = stated if stated and len(stated) <= MAX_URL_LENGTH else url  # it becomes part of every link
        elif tag == "meta":
            if get("name", "").strip().lower() in ("robots", token.lower()):
                directives |= _words(get("content", ""))
            elif get("http-equiv", "").strip().lower() == "refresh" and refresh is None and not in_noscript:
                refresh = _REFRESH.match(get("content", ""))
        else:
            hrefs.append((get("src", ""), False))
    target = None
    if refresh and refresh[2].strip():
        if float(refresh[1].rstrip(".") or 0) <= REDIRECT_SECONDS:
            target = canonical_url(refresh[2].strip(), base, decoded.encoding)
        else:
            hrefs.append((refresh[2], False))
    nofollow = "nofollow" in directives
    found: dict[str, bool] = {}
    left_out: dict[str, None] = {}
    num_left_out = 0
    for href, refused in hrefs:
        href = _SPACES.sub("", href.strip())
        if not href or href[:11].lower().startswith(_SKIPPED_SCHEMES):
            continue
        if len(left_out) >= RECORDED:
            num_left_out += 1
            continue
        absolute = canonical_url(href, base, decoded.encoding)
        if absolute is None or absolute == url:
            continue
        if absolute in found or len(found) < MAXIMUM[LINKS_PER_PAGE]:
            found[absolute] = found.get(absolute, True) and (refused or nofollow)
        elif absolute not in left_out:
            left_out[absolute] = None
            num_left_out += 1
    return Links(
        followed=[link for link, refused in found.items() if not refused],
        not_followed=[link for link, refused in found.items() if refused],
        left_out=tuple(left_out),
        num_left_out=num_left_out,
        refresh=target if target != url else None,
        noindex="noindex" in directives,
    )


_Element = tuple[str, Mapping[str, str], bool]
"""Tag, attributes, and whether the element is inside `noscript`."""


def _elements(content: bytes) -> list[_Element]:
    """The elements that have links or directives. Uses parser events, because libxml2 cuts a tree off at depth 2048."""
    found = _Target()
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, target=found)
    try:
        parser.feed(content)
        parser.close()
    except (etree.LxmlError, ValueError):
        pass  # a page without elements, or the rest of a page that libxml2 gives up
    return found.elements


class _Target:
    """Receives the events of a parse."""

    def __init__(self) -> None:
        self.elements: list[_Element] = []
        self._noscript = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag in _WITH_LINKS:
            self.elements.append((tag, dict(attributes), self._noscript > 0))
        elif tag == "noscript":
            self._noscript += 1

    def end(self, tag: str) -> None:
        if tag == "noscript":
            self._noscript -= 1

    def close(self) -> None:
        """Required by lxml."""


def robots_directives(headers: Iterable[tuple[str, str]], token: str) -> set[str]:
    """Directives of `X-Robots-Tag: noindex` and `X-Robots-Tag: bessemer: nofollow`, without those for other crawlers.

    An agent's name applies to the directives after it, up to the next name: proxies join repeated headers by commas.
    `max-snippet: 5` and other directives with a value are not names.
    """
    found: set[str] = set()
    for name, value in headers:
        if name.lower() == "x-robots-tag":
            is_for_us = True
            for part in value.split(","):
                agent, colon, rest = part.partition(":")
                agent = agent.strip().lower()
                if colon and agent not in _WITH_VALUE and " " not in agent:
                    is_for_us = agent == token.lower()
                    part = rest
                if is_for_us:
                    found |= _words(part)
    return found


def _words(content: str) -> set[str]:
    """The directives of a list; many authors separate them by blanks or semicolons."""
    words = set(_BETWEEN_WORDS.split(_VALUED.sub("", content.lower())))
    return words | {"noindex", "nofollow"} if "none" in words else words


def _has_word(value: str, word: str) -> bool:
    return word in value.lower().split()


def _is_feed(content_type: str) -> bool:
    return "rss" in content_type or "atom" in content_type or "json" in content_type or "xml" in content_type
