"""Finds the main text of a page with trafilatura. This module prepares the page and clears trafilatura's caches.

Before the extraction, elements that a browser does not show are removed. Formulas become TeX in the sentence around
them. Code blocks become plain text without line numbers, so that highlighting markup does not split them. Links that
only point to their own heading are removed, because a heading that consists of a link looks like navigation.

After the extraction, trafilatura's caches are cleared. They hold the last thousand strings, including whole pages, so
earlier pages could change the result of later ones.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any

from lxml import etree

from bessemer.artifacts.ledger import Removed
from bessemer.extract.formulas import write_out, write_out_script

# Errors that libraries raise on hostile HTML. Any other error is a fault of this package and propagates.
_FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

_LINKS_TO_THEMSELVES = etree.XPath("//a[starts-with(@href, '#')][contains('¶ # § ', concat(normalize-space(), ' '))]")
_LINE_NUMBERS = etree.XPath(
    "(//table//*|//pre//*)[contains(@class, 'lineno') or contains(@class, 'line-number') or "
    "contains(@class, 'linenumber') or contains(@class, 'gutter') or contains(@class, 'blob-num')]"
)
_NOT_SHOWN = etree.XPath("//body//*[self::template or self::title or self::noembed or @hidden]")
"""Elements that the HTML standard's style sheet hides (section 15.3.1), beyond those that trafilatura removes."""
_STREAMED = re.compile(r"S:[0-9a-f]+")  # React puts streamed text here, and a script shows it
_TEX_SCRIPTS = etree.XPath("//script[starts-with(normalize-space(@type), 'math/tex')]")
_SPANS = etree.XPath("//td[@colspan or @rowspan] | //th[@colspan or @rowspan]")
MAX_SPANNED_CELLS = 10_000
_LINES = frozenset({"div", "p", "ol", "ul", "li"})
"""Elements that start and end a line in a browser, even inside a `<pre>`."""
_CODE_BLOCKS = etree.XPath("//pre[not(ancestor::pre)]")


def main_body(tree: Any, *, favor_precision: bool, include_tables: bool, include_comments: bool) -> Any:
    """The body of the main text of a prepared page, in trafilatura's elements (`p`, `head`, `list`, `code`, ...).

    Raises Removed if nothing on the page is main text.
    """
    try:
        document = _extractor()(
            tree,
            output_format="xml",  # the format `python` would also render the tree, which this package does itself
            favor_precision=favor_precision,
            include_tables=include_tables,
            include_comments=include_comments,
            include_formatting=False,
        )
    except (*_FAULTS, etree.LxmlError) as error:
        raise Removed("parser_error", evidence=f"{type(error).__name__}: {error}"[:200]) from error
    finally:
        _empty_caches()
    if document is None:
        raise Removed("empty_text", evidence="no main text found")
    if include_comments and len(document.commentsbody):
        document.body.extend(document.commentsbody)
    return document.body


def prepare(tree: Any) -> None:
    """Changes the page in place: no hidden text, TeX for formulas, plain code blocks, tables of bounded size."""
    for element in _NOT_SHOWN(tree):
        _hide(element)
    for formula in list(tree.iter("math")):
        write_out(formula)
    for script in _TEX_SCRIPTS(tree):
        write_out_script(script)
    for block in tree.iter("xmp", "listing", "plaintext"):
        block.tag = "pre"
    spanning = _SPANS(tree)
    if sum(_span(cell, "colspan") * _span(cell, "rowspan") for cell in spanning) > MAX_SPANNED_CELLS:
        for cell in spanning:  # trafilatura writes one cell for each position that a spanning cell covers
            cell.attrib.pop("colspan", None)
            cell.attrib.pop("rowspan", None)
    for link in _LINKS_TO_THEMSELVES(tree):
        link.drop_tree()
    for number in _LINE_NUMBERS(tree):
        number.drop_tree()
    for block in _CODE_BLOCKS(tree):
        _flatten(block)


def _hide(element: Any) -> None:
    """Removes a hidden element, unless a browser shows it after all."""
    if element.tag == "template" and (element.get("shadowrootmode") or element.get("shadowroot")):
        element.tag = "div"
    elif element.tag in ("template", "title", "noembed"):
        element.drop_tree()
    elif element.get("hidden").strip().lower() == "until-found" or _STREAMED.fullmatch(element.get("id", "")):
        del element.attrib["hidden"]
    else:
        element.drop_tree()


def _flatten(block: Any) -> None:
    """Reduces a `<pre>` to one `<code>` without markup. If it is the only content of a table, it replaces the table."""
    for line_break in list(block.iter("br")):
        line_break.tail = "\n" + (line_break.tail or "")
    text, tail = _lines(block), block.tail
    block.clear()
    block.tail = tail
    etree.SubElement(block, "code").text = text
    table = next(block.iterancestors("table"), None)
    if table is not None and table.getparent() is not None and table.text_content().strip() == text.strip():
        block.tail = table.tail
        table.getparent().replace(table, block)


def _lines(block: Any) -> str:
    """The text of a `<pre>`, with a line break before and after the elements of `_LINES` inside it."""
    pieces: list[str] = []
    at_edge = False
    for event, element in etree.iterwalk(block, events=("start", "end")):
        at_edge = at_edge or element.tag in _LINES
        text = element.text if event == "start" else element.tail if element is not block else None
        if not text:
            continue
        if at_edge:
            if text.isspace() and "\n" in text:
                text = text.rstrip(" \t")  # the indentation of the next element
            if pieces and not pieces[-1].endswith("\n") and not text.startswith("\n"):
                pieces.append("\n")
        pieces.append(text)
        at_edge = False
    return "".join(pieces)


def _span(cell: Any, name: str) -> int:
    value = cell.get(name, "1").strip()[:4]
    return int(value) if value.isascii() and value.isdecimal() else 1


@cache
def _extractor() -> Any:
    for noisy in ("trafilatura", "justext", "htmldate", "readability"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    from trafilatura.core import bare_extraction

    return bare_extraction


def _empty_caches() -> None:
    from trafilatura.utils import line_processing, trim

    trim.cache_clear()
    line_processing.cache_clear()
