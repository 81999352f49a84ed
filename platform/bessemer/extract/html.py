"""Parses HTML into a tree, with limits on size and depth instead of time.

libxml2's limits for untrusted input (256 nested elements, 10 MB per text) silently end the parse and lose the rest of
the page. So they are switched off, and this module checks its own limits: bytes and attributes before the parse, nodes
and depth after it. Each limit has its own verdict. The limit on nested elements is 512, as in browsers. The number of
attributes has a limit because libxml2 walks over all attributes of an element to append one.

For libxml2, elements after `</html>` are further roots, and a second `<body>` is a second element. A browser puts all
of them into one body (HTML standard, 13.2.6.4.19 to 22), and so does this module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

from lxml import etree
from lxml.html import HtmlElement, HTMLParser, document_fromstring

from bessemer.artifacts.ledger import Removed

MAX_DEPTH = 512
MAX_ATTRIBUTES = 256
MANY_NODES, DEEP = 3000, 64
"""The time of an extractor grows with nodes times depth, for some elements with the square of the nodes. Below both
numbers, a page takes at most about 2 s; most pages of the web are below."""
_MARKUP = re.compile(rb"<[a-zA-Z!?/]")
_MANY_ATTRIBUTES = re.compile(
    rb"""<[^\s/><]*+[\s/](?:[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"?+|'[^']*+'?+|[^\s>"'][^\s>]*+)?+)?+){%d}"""
    % (MAX_ATTRIBUTES + 1)
)
"""Text that may be an element with too many attributes. Each is found; scripts and comments may look like one."""
_SEARCHED_BYTES = 512 << 10
"""In the worst case, the search takes 4 microseconds per byte; `_check_attributes` takes 0.2."""


@cache
def _parser() -> Any:
    parser = HTMLParser(
        encoding="utf-8",
        collect_ids=False,
        default_doctype=False,
        remove_comments=True,
        remove_pis=True,
        huge_tree=True,
    )
    # One class for all elements: lxml.html's check whether each element is a form or an input took a tenth of the time.
    parser.set_element_class_lookup(etree.ElementDefaultClassLookup(element=HtmlElement))
    return parser


def parse(content: bytes, *, max_nodes: int) -> Any:
    """Returns the root element of a page. `content` is `Decoded.markup()`. Raises Removed if it has no markup, or if
    it exceeds a limit."""
    if not _MARKUP.search(content):
        text = content.decode("utf-8", "replace").strip()
        raise Removed("not_html" if text else "empty_text", evidence=text[:80] or "an empty page")
    if len(content) > _SEARCHED_BYTES or _MANY_ATTRIBUTES.search(content):
        _check_attributes(content)
    try:
        tree = document_fromstring(content, parser=_parser())
    except etree.ParserError as error:
        raise Removed("empty_text", evidence="a page without elements") from error
    except (etree.LxmlError, ValueError) as error:
        raise Removed("parser_error", evidence=str(error)[:200]) from error
    _gather(tree)
    nodes = count_nodes(tree)
    if nodes > max_nodes:
        raise Removed("too_many_nodes", value=nodes, threshold=max_nodes)
    if nodes > MAX_DEPTH and _is_deeper(MAX_DEPTH)(tree):
        raise Removed("too_deep", value=MAX_DEPTH + 1, threshold=MAX_DEPTH)
    return tree


def is_demanding(tree: Any) -> bool:
    """Whether the extraction may take more than about 2 s: a page with many nodes, or deep ones."""
    nodes = count_nodes(tree)
    return nodes > MANY_NODES or (nodes > DEEP and bool(_is_deeper(DEEP)(tree)))


class _Attributes:
    """Receives the events of a parse, and ends it at the first element with too many attributes."""

    def __init__(self) -> None:
        self.most = 0
        self._depth = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        self.most = max(self.most, len(attributes))
        if self.most > MAX_ATTRIBUTES or self._depth > MAX_DEPTH:  # `parse` refuses the depth
            raise _EnoughSeen

    def end(self, tag: str) -> None:
        self._depth -= 1

    def close(self) -> None:
        """Required by lxml."""


class _EnoughSeen(Exception):
    """Ends a parse."""


def _check_attributes(content: bytes) -> None:
    """Raises Removed for a page with too many attributes in one element. A parse without a tree takes linear time."""
    found = _Attributes()
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, target=found)
    with suppress(_EnoughSeen, etree.LxmlError, ValueError):
        parser.feed(content)
        parser.close()
    if found.most > MAX_ATTRIBUTES:
        raise Removed("too_many_attributes", value=found.most, threshold=MAX_ATTRIBUTES)


def _gather(root: Any) -> None:
    """Moves elements and text outside of the first `<body>` to the end of it, and metadata to the first `<head>`."""
    roots = [root, *root.itersiblings("html")]
    children = [child for found in roots for child in found]
    if (
        len(roots) == 1
        and [child.tag for child in children] in _WELL_FORMED
        and not any(_has_tail(c) for c in children)
    ):
        return
    body = next((child for child in children if child.tag == "body"), None)
    if body is None:
        if any(child.tag == "frameset" for child in children):
            return  # a page of frames does not have a body
        body = root.makeelement("body")
    head = next((child for child in children if child.tag == "head"), None)
    if head is None:
        head = root.makeelement("head")
    for found in roots:
        for name, value in found.attrib.items():
            if name not in root.attrib:
                root.set(name, value)
        _append_text(body, found.text)
        for child in list(found):
            tail, child.tail = child.tail, None
            if child.tag in ("body", "head"):
                if child is not body and child is not head:
                    _append_content(body if child.tag == "body" else head, child)
            elif child.tag in _METADATA:
                head.append(child)
            else:
                body.append(child)
            _append_text(body, tail)
    root[:] = [head, body]


_WELL_FORMED: tuple[list[str], ...] = ([], ["head"], ["body"], ["head", "body"])
_METADATA = frozenset({"base", "link", "meta", "title"})


def _has_tail(element: Any) -> bool:
    return bool(element.tail) and not element.tail.isspace()


def _append_content(target: Any, source: Any) -> None:
    _append_text(target, source.text)
    for child in list(source):
        target.append(child)  # with its tail


def _append_text(target: Any, text: str | None) -> None:
    if text and not text.isspace():
        if len(target):
            target[-1].tail = (target[-1].tail or "") + text
        else:
            target.text = (target.text or "") + text


def count_nodes(tree: Any) -> int:
    """The number of elements."""
    return int(_COUNT(tree))


_COUNT = etree.XPath("count(descendant-or-self::*)")


@cache
def _is_deeper(depth: int) -> Any:
    return etree.XPath("boolean(" + "*/" * depth + "*)")
