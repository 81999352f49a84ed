"""Reads the metadata that a page states: title, author, date, site, language, licence, description.

The sources are `<meta>` (Open Graph, Dublin Core, citation), JSON-LD and some conventional elements, best source first.
Trafilatura's own metadata search finds more dates, because it tries every text that may be a date (htmldate, a third of
the extraction time). But its result depends on the day of the call. Here only a machine-readable date counts.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from lxml import etree

MAX_LENGTH = 500

_META = etree.XPath("//meta[@content]")
_JSON_LD = etree.XPath("//script[@type='application/ld+json']")
_TIMES = etree.XPath("//time[@datetime][not(ancestor::*[self::aside or self::footer or self::nav])]")
_LICENSES = etree.XPath("(//a|//link)[contains(@rel, 'license')][@href]")
_AUTHORS = etree.XPath(
    "//*[@rel = 'author' or @itemprop = 'author' or contains(@class, 'author') or contains(@class, 'byline')]"
)
_AUTHOR_CLASSES = frozenset({"author", "byline"})

_TITLE_NAMES = ("og:title", "citation_title", "dc.title", "dcterms.title", "headline", "twitter:title", "title")
_AUTHOR_NAMES = (
    "author",
    "article:author",
    "dc.creator",
    "dcterms.creator",
    "citation_author",
    "parsely-author",
    "byl",
)
_DATE_NAMES = (
    "article:published_time",
    "datepublished",
    "og:published_time",
    "date",
    "dc.date",
    "dc.date.issued",
    "dcterms.date",
    "dcterms.created",
    "dcterms.issued",
    "citation_publication_date",
    "citation_date",
    "parsely-pub-date",
    "pubdate",
    "publishdate",
    "sailthru.date",
    "article:modified_time",
    "last-modified",
)
_SITE_NAMES = ("og:site_name", "application-name", "citation_journal_title", "dc.publisher", "publisher")
_DESCRIPTION_NAMES = ("og:description", "description", "dc.description", "twitter:description")
_LANGUAGE_NAMES = ("content-language", "language", "dc.language", "og:locale")
_ARTICLES = re.compile(r"(Article|Posting|Report|WebPage|Recipe|Book|Review|TechArticle|CreativeWork)$")
_TITLE_PARTS = re.compile(r"\s+[–•·—|⁄*⋆~‹«<›»>:-]\s+")
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-/.]?(0[1-9]|1[0-2])[-/.]?(0[1-9]|[12]\d|3[01])(?!\d)")
_DATE_IN_URL = re.compile(r"/((?:19|20)\d\d)/(0?[1-9]|1[0-2])/(?:(0?[1-9]|[12]\d|3[01])/)")
_LANGUAGE = re.compile(r"[a-zA-Z]{2}(?=$|[-_,;\s])")
_CREATIVE_COMMONS = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z-]+)/(\d\.\d)", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")


def page_metadata(tree: Any, url: str) -> dict[str, str]:
    """Returns the metadata that the page states, with the keys `title`, `author`, `date` (ISO 8601), `sitename`,
    `description`, `language` and `license`.

    `language` is the declared language (ISO 639-1), which may be wrong. `license` is an SPDX identifier.
    """
    meta: dict[str, str] = {}
    for element in _META(tree):
        for attribute in ("property", "name", "itemprop", "http-equiv"):
            if name := element.get(attribute):
                meta.setdefault(name.strip().lower().replace("dc:", "dc."), element.get("content"))
    article, organisation = _json_ld(tree)
    found = {
        "title": _title(tree, meta, article),
        "author": _author(tree, meta, article),
        "date": _date(tree, meta, article, url),
        "sitename": _first(meta, _SITE_NAMES) or organisation or _host(url),
        "description": _first(meta, _DESCRIPTION_NAMES),
        "language": _language(tree, meta),
        "license": _license(tree),
    }
    return {key: text for key, value in found.items() if (text := _clean(value))}


def _clean(value: str | None) -> str:
    return " ".join(html.unescape(value).replace("\u00ad", "").split())[:MAX_LENGTH].strip() if value else ""


def _first(meta: dict[str, str], names: tuple[str, ...]) -> str:
    return next((meta[name] for name in names if meta.get(name, "").strip()), "")


def _json_ld(tree: Any) -> tuple[dict[str, Any], str]:
    """Returns the first JSON-LD node that seems to describe the page, and the publisher's name."""
    article: dict[str, Any] = {}
    organisation = ""
    for script in _JSON_LD(tree):
        try:
            nodes = list(_nodes(json.loads(script.text or "", strict=False)))
        except (ValueError, RecursionError):
            continue
        for node in nodes:
            kinds = node.get("@type")
            kinds = [str(kind) for kind in kinds] if isinstance(kinds, list) else [str(kinds)]
            if any(_ARTICLES.search(kind) for kind in kinds):
                for key, value in node.items():
                    article.setdefault(key, value)
                organisation = organisation or _name(node.get("publisher"))
            elif "WebSite" in kinds:
                organisation = organisation or _name(node)
    return article, organisation


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item
            yield from _nodes(item.get("@graph", []))


def _name(value: Any) -> str:
    """The name of a JSON-LD person or organisation. Several names are joined by `; `."""
    if isinstance(value, list):
        return "; ".join(dict.fromkeys(filter(None, map(_name, value[:20]))))
    if isinstance(value, dict):
        value = value.get("name")
        return _name(value) if isinstance(value, list) else str(value or "")
    return value if isinstance(value, str) and "://" not in value else ""


def _title(tree: Any, meta: dict[str, str], article: dict[str, Any]) -> str:
    headline = article.get("headline")
    if isinstance(headline, str) and headline.strip():
        return _TAG.sub("", headline)
    headings = tree.findall(".//h1")
    if len(headings) == 1 and (text := headings[0].text_content().strip()):
        return str(text)
    if stated := _first(meta, _TITLE_NAMES):
        return stated
    element = tree.find(".//head//title")
    whole = " ".join(element.text_content().split()) if element is not None else ""
    if whole:
        return max(_TITLE_PARTS.split(whole), key=len)
    return str(headings[0].text_content()) if headings else ""


def _author(tree: Any, meta: dict[str, str], article: dict[str, Any]) -> str:
    named = _name(article.get("author"))
    stated = _first(meta, _AUTHOR_NAMES)
    author = named or ("" if "://" in stated else stated)
    if not author:
        places = [element for element in _AUTHORS(tree) if _names_an_author(element)][:5]
        texts = (" ".join(element.text_content().split()) for element in places)
        author = next((text for text in texts if 2 < len(text) < 80), "")
    return re.sub(r"^(?:by|von|par|por|di|written by)[:\s]+", "", _TAG.sub("", author), flags=re.IGNORECASE)


def _names_an_author(element: Any) -> bool:
    marked = element.tag == "a" if element.get("rel") == "author" else element.get("itemprop") == "author"
    return marked or not _AUTHOR_CLASSES.isdisjoint(element.get("class", "").split())


def _date(tree: Any, meta: dict[str, str], article: dict[str, Any], url: str) -> str:
    stated = [article.get(key) for key in ("datePublished", "dateCreated")]
    stated += [meta.get(name) for name in _DATE_NAMES]
    stated += [element.get("datetime") for element in _TIMES(tree)[:3]]
    for value in stated:
        if isinstance(value, str) and (found := _DATE.search(value)):
            return "-".join(found.groups())
    if found := _DATE_IN_URL.search(url.partition("?")[0]):
        return f"{found[1]}-{int(found[2]):02d}-{int(found[3]):02d}"
    return ""


def _language(tree: Any, meta: dict[str, str]) -> str:
    for stated in (tree.get("lang"), tree.get("{http://www.w3.org/XML/1998/namespace}lang"), tree.get("xml:lang")):
        if stated and (found := _LANGUAGE.match(stated.strip())):
            return found[0].lower()
    found = _LANGUAGE.match(_first(meta, _LANGUAGE_NAMES).strip())
    return found[0].lower() if found else ""


def _license(tree: Any) -> str:
    for element in _LICENSES(tree):
        if found := _CREATIVE_COMMONS.search(element.get("href")):
            kind = found[1].upper()
            return f"CC0-{found[2]}" if kind == "ZERO" else f"CC-{kind}-{found[2]}"
    return ""


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""
