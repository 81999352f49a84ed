"""The pages that a site lists in its sitemaps: sitemaps.org files, and the files that people serve in their place.

A file may be an XML `urlset` or `sitemapindex` (with or without namespaces, also broken), an RSS or Atom feed, or plain
text with one URL per line; gzip or not. A damaged file gives its readable part. Bare ampersands, HTML entities, control
characters and text around the root are repaired before the parse, because libxml2 drops the text after them. If end
tags are missing or superfluous, they are balanced and the file is parsed again; libxml2 alone ends the file early.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from html.entities import html5

from lxml import etree

from bessemer.artifacts.charset import decode
from bessemer.artifacts.content_coding import GZIP, gunzip
from bessemer.crawl.limits import (
    MAXIMUM,
    RECORDED,
    SITEMAP_BYTES,
    SITEMAP_DEPTH,
    SITEMAPS_PER_SITE,
    URLS_PER_SITE,
    URLS_PER_SITEMAP,
)
from bessemer.crawl.urls import canonical_url

_MAX_LAYERS = 3  # of gzip
_ROOT = re.compile(r"<(?:[\w.-]+:)?(?:urlset|sitemapindex|rss|feed|rdf)\b", re.IGNORECASE)
_PROLOG = re.compile(r"<\?xml[^<>]*\?>|<!DOCTYPE[^<>\[]*>", re.IGNORECASE)
_AMPERSAND = re.compile(
    r"&(?:(#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|(?:amp|lt|gt|quot|apos);)|([a-zA-Z][a-zA-Z0-9]{1,31};))?"
)
_BARE_LESS_THAN = re.compile(r"<(?![A-Za-z_/!?])")
_TAG = re.compile(
    rb"""<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<\?.*?(?:\?>|\Z)|"""
    rb"""<(?P<end>/?)(?P<name>[^\s<>/!?]++)(?:"[^"<]*+"|'[^'<]*+'|[^<>"'/]++|/(?!>))*+(?P<empty>/?)>""",
    re.DOTALL,
)
_WRAPPER = "content-of-the-sitemap"
_UNBALANCED = (etree.ErrorTypes.ERR_TAG_NAME_MISMATCH, etree.ErrorTypes.ERR_TAG_NOT_FINISHED)
_NOT_IN_XML = bytes(code for code in range(32) if code not in b"\t\n\r")


@dataclass(frozen=True, slots=True)
class Sitemap:
    """Canonical URLs, each once, in the file's order: pages, and further sitemaps of an index."""

    pages: list[str]
    """At most `RECORDED`."""
    sitemaps: list[str]
    num_pages: int = 0
    num_bytes: int = 0
    """The size without compression, as far as it was read."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A URL that a sitemap lists. `rule` is empty for a page to crawl; otherwise it names the rule that left the URL
    out."""

    url: str
    via: str
    """The sitemap or robots.txt that lists it; empty for the sitemap of a site that names none."""
    rule: str = ""
    value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """The reason why a sitemap could not be read: the verdict of its failed request."""

    rule: str
    value: float | None = None
    threshold: float | None = None


async def collect_urls(roots: Mapping[str, str], get: Callable[[str], Awaitable[Sitemap | Unread]]) -> list[Listed]:
    """The pages of a site, from its sitemaps and those that they name, level by level; and the URLs left out.

    `roots` maps the address of a sitemap to the file that names it.
    """
    found = _Collection()
    level = dict(roots)
    for depth in range(MAXIMUM[SITEMAP_DEPTH] + 1):
        following: dict[str, str] = {}
        for url, via in level.items():
            if url in found.read:
                continue
            if rule := found.limit_for(depth):
                found.leave_out(url, via, rule)
                continue
            sitemap = await get(url)
            found.read.add(url)
            if isinstance(sitemap, Unread):
                found.listed.append(Listed(url, via, sitemap.rule, sitemap.value, sitemap.threshold))
                continue
            found.add(sitemap, url, via)
            following.update((named, following.get(named, url)) for named in sitemap.sitemaps)
        level = following
    return found.listed


class _Collection:
    """The URLs listed so far, each page once."""

    def __init__(self) -> None:
        self.listed: list[Listed] = []
        self.read: set[str] = set()
        self._pages: set[str] = set()

    def limit_for(self, depth: int) -> str:
        """The rule that leaves out a sitemap at this depth, if any."""
        if depth >= MAXIMUM[SITEMAP_DEPTH]:
            return SITEMAP_DEPTH
        if len(self.read) >= MAXIMUM[SITEMAPS_PER_SITE]:
            return SITEMAPS_PER_SITE
        return URLS_PER_SITE if len(self._pages) >= MAXIMUM[URLS_PER_SITE] else ""

    def leave_out(self, url: str, via: str, rule: str, value: float | None = None) -> None:
        self.listed.append(Listed(url, via, rule, value, float(MAXIMUM[rule])))

    def add(self, sitemap: Sitemap, url: str, via: str) -> None:
        """Adds the pages of a sitemap; the sitemap itself is left out too if it exceeds a limit."""
        most = MAXIMUM[URLS_PER_SITEMAP]
        if sitemap.num_bytes > MAXIMUM[SITEMAP_BYTES]:
            self.leave_out(url, via, SITEMAP_BYTES, sitemap.num_bytes)
        if sitemap.num_pages > most:
            self.leave_out(url, via, URLS_PER_SITEMAP, sitemap.num_pages)
        for number, page in enumerate(sitemap.pages):
            if page in self._pages:
                continue
            if len(self._pages) >= MAXIMUM[URLS_PER_SITE]:
                self.leave_out(url, via, URLS_PER_SITE, sitemap.num_pages)
                return
            self._pages.add(page)
            if number < most:
                self.listed.append(Listed(page, url))
            else:
                self.leave_out(page, url, URLS_PER_SITEMAP, sitemap.num_pages)


def parse_sitemap(content: bytes, url: str, charset: str | None = None) -> Sitemap:
    """The URLs in a sitemap file found at `url`; never raises. `charset` is the label of the HTTP header."""
    content = _decompress(content)
    size = len(content)
    text = decode(content[: MAXIMUM[SITEMAP_BYTES]], charset, markup=True).text
    has_entities = "<!ENTITY" in text
    root = _ROOT.search(text)
    if root is None and not text.lstrip().startswith("<"):
        lines = (line for line in text.splitlines() if line.strip()[:4].lower() == "http")
        pages, num_pages = _canonical(lines, url)
        return Sitemap(pages, [], num_pages, size)
    if root is not None:
        end = max(text.rfind(">") + 1, text.rfind("</"))  # a URL that the end of a cut file breaks off is another URL
        text = text[root.start() : end]
    tree = _parse(text, has_entities=has_entities)
    if tree is None:
        return Sitemap([], [], num_bytes=size)
    listed = list(_locations(tree))
    pages, num_pages = _canonical((text for text, is_page in listed if is_page), url)
    named, _ = _canonical((text for text, is_page in listed if not is_page), url)
    return Sitemap(pages, named, num_pages, size)


def _parse(text: str, *, has_entities: bool) -> etree._Element | None:
    parser = etree.XMLParser(
        recover=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
        remove_comments=True,
        encoding="utf-8",
    )
    inside = _repaired(_PROLOG.sub("", text), keep_unknown=has_entities)
    markup = f"<{_WRAPPER}>{inside}</{_WRAPPER}>"  # several roots are common
    content = markup.replace("\ufffe", "").replace("\uffff", "").encode("utf-8", "replace").translate(None, _NOT_IN_XML)
    try:
        tree: etree._Element | None = etree.fromstring(content, parser)
        if any(error.type in _UNBALANCED for error in parser.error_log):
            tree = etree.fromstring(_balanced(content), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    return tree


def _balanced(content: bytes) -> bytes:
    """XML in which each end tag ends an open element: others are removed, and missing ones are inserted."""
    pieces: list[bytes] = []
    names: list[bytes] = []
    counts: Counter[bytes] = Counter()
    at = 0
    for tag in _TAG.finditer(content):
        if tag["name"] is None:  # a comment, a CDATA section, or a processing instruction
            continue
        name = tag["name"]
        if not tag["end"]:
            if not tag["empty"]:
                names.append(name)
                counts[name] += 1
            continue
        pieces.append(content[at : tag.start()])
        at = tag.end()
        while counts[name] and names:
            last = names.pop()
            counts[last] -= 1
            pieces.append(b"</" + last + b">")
            if last == name:
                break
    pieces.append(content[at:])
    pieces += [b"</" + name + b">" for name in reversed(names)]
    return b"".join(pieces)


def _locations(tree: etree._Element) -> Iterator[tuple[str, bool]]:
    """(text of a URL, whether it is that of a page) in the file's order."""
    for element in tree.iter(etree.Element):
        name, parent = _local_name(element), element.getparent()
        inside = _local_name(parent) if parent is not None else ""
        text = (element.text or "").strip()
        if name == "loc" and inside in ("url", "urlset"):
            yield text, True
        elif name in ("loc", "sitemap") and inside in ("sitemap", "sitemapindex"):
            yield text, False  # some leave out `loc` and write the address into `sitemap`
        elif name == "link" and inside in ("item", "entry") and element.get("rel", "alternate") == "alternate":
            yield text or element.get("href", ""), True


def _repaired(text: str, *, keep_unknown: bool) -> str:
    """XML with every `&` as a reference, and every `<` that begins no tag; CDATA sections stay as they are."""

    def reference(found: re.Match[str]) -> str:
        if found[1] is not None:
            return found[0]
        if found[2] is None:
            return "&amp;"
        characters = html5.get(found[2])
        if characters is None:
            return found[0] if keep_unknown else f"&amp;{found[2]}"
        return "".join(f"&#{ord(character)};" for character in characters)

    def repaired(markup: str) -> str:
        return _BARE_LESS_THAN.sub("&lt;", _AMPERSAND.sub(reference, markup))

    before, *sections = text.split("<![CDATA[")
    parts = [repaired(before)]
    for section in sections:
        inside, end, after = section.partition("]]>")
        if end:
            parts += ["<![CDATA[", inside, end]
        parts.append(repaired(after if end else inside))
    return "".join(parts)


def _canonical(urls: Iterable[str], base: str) -> tuple[list[str], int]:
    """(at most `RECORDED` of the URLs, each once; how many there are)."""
    found: dict[str, None] = {}
    count = 0
    for text in urls:
        if not text.strip():
            continue
        if len(found) >= RECORDED:
            count += 1
        elif url := canonical_url(text.strip(), base):
            count += url not in found
            found[url] = None
    return list(found), count


def _local_name(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _decompress(content: bytes) -> bytes:
    """Undoes gzip as far as it can be read, to one byte beyond the limit."""
    for _ in range(_MAX_LAYERS):
        if not content.startswith(GZIP):
            break
        content = gunzip(content, MAXIMUM[SITEMAP_BYTES] + 1).content
    return content
