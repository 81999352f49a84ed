"""HTML text to a tree, within limits that do not depend on the clock.

libxml2's limits for untrusted input (256 nested elements, 10 MB a text) end the parse in silence and lose the rest of
the page, so they are lifted, and our own are checked instead: bytes before the parse, nodes and depth after it. Each
has its verdict. The work that follows is at worst proportional to nodes times depth, so a browser's limit of 512
nested elements is ours too.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from lxml import etree
from lxml.html import HtmlElement, HTMLParser, document_fromstring

from bessemer.extract.verdict import Refused

MAX_DEPTH = 512
_MARKUP = re.compile(rb"<[a-zA-Z!?/]")


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
    # One class for all elements: a tenth of the whole time went into asking for each whether it is a form or an input.
    parser.set_element_class_lookup(etree.ElementDefaultClassLookup(element=HtmlElement))
    return parser


def parse(content: bytes, *, max_nodes: int) -> Any:
    """The root element of a page, given as `Decoded.markup()`. Raises Refused without markup or beyond a limit."""
    if not _MARKUP.search(content):
        text = content.decode("utf-8", "replace").strip()
        raise Refused("not_html" if text else "empty_text", evidence=text[:80] or "an empty page")
    try:
        tree = document_fromstring(content, parser=_parser())
    except etree.ParserError as error:
        raise Refused("empty_text", evidence="a page without elements") from error
    except (etree.LxmlError, ValueError) as error:
        raise Refused("parser_error", evidence=str(error)[:200]) from error
    nodes = count_nodes(tree)
    if nodes > max_nodes:
        raise Refused("too_many_nodes", value=nodes, threshold=max_nodes)
    if nodes > MAX_DEPTH and _DEEP(tree):
        raise Refused("too_deep", value=MAX_DEPTH + 1, threshold=MAX_DEPTH)
    return tree


def count_nodes(tree: Any) -> int:
    """The number of elements."""
    return int(_COUNT(tree))


_COUNT = etree.XPath("count(descendant-or-self::*)")
_DEEP = etree.XPath("boolean(" + "*/" * MAX_DEPTH + "*)")
