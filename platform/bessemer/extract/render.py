"""Renders a tree of main text as plain text or Markdown, in the form that a language model should learn to write.

One empty line separates paragraphs, headings, code blocks, lists and tables. White space inside a paragraph becomes one
space, as in a browser, and lines are not wrapped. Code keeps every space and tab. Markdown adds `#` before headings,
fences around code, back quotes around inline code, `>` before quotations and a rule under the first row of a table. It
does not escape prose, because `snake_case` should stay `snake_case`. The tree is read in one pass, without recursion.
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from bessemer.extract.plain import CONTROL

_CJK = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_BREAK_INSIDE_CJK = re.compile(rf"(?<=[{_CJK}])[ \t\r]*\n\s*(?=[{_CJK}])")
_SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace() and chr(code) != "\t")
"""White space that is removed at the end of a line of code. A tab stays, because it may separate an empty cell."""
_BREAK = "\x1e"  # marks an explicit line break (<br>) until white space is collapsed
_BLOCKS = frozenset({"body", "div", "p", "quote", "table", "tbody", "tr", "td", "th", "section", "article"})
_CODE_IS_A_BLOCK_IN = frozenset({"body", "div", "quote", "code"})
PARAGRAPH, ITEM, ROW, TERM = "paragraph", "item", "row", "term"
_CLOSE = frozenset({(ITEM, ITEM), (TERM, ITEM), (ROW, ROW)})  # blocks of these kinds follow each other line by line


def render(body: Any, *, markdown: bool) -> str:
    """Renders a tree of trafilatura's elements (`p`, `head`, `list`, `item`, `code`, `table`, ...)."""
    writer = _Writer(markdown)
    walker = etree.iterwalk(body, events=("start", "end"))
    for event, element in walker:
        if event == "start":
            if element.tag == "code":
                writer.code(element)
                walker.skip_subtree()
            else:
                writer.start(element)
                writer.inline(element.text)
        else:
            writer.end(element)
            if element is not body:
                writer.inline(element.tail)
    return writer.finish()


class _Writer:
    """Collects blocks of (kind, text) and joins them by empty lines, list items and table rows by line ends."""

    def __init__(self, markdown: bool) -> None:
        self._markdown = markdown
        self._blocks: list[tuple[str, str]] = []
        self._pieces: list[str] = []
        self._kind = PARAGRAPH
        self._marker = ""  # the beginning of the next block: the bullet or the indent of its list item
        self._indents: list[str] = []  # of the text in the open list items
        self._numbers: list[int | None] = []  # the last number in each open list, None if it is not ordered
        self._quotes = 0
        self._rows: list[list[str]] = []  # the open table rows, almost always one
        self._first_row = True

    def inline(self, text: str | None) -> None:
        if text:
            self._pieces.append(text)

    def start(self, element: Any) -> None:
        tag = element.tag
        if tag == "lb":
            self._pieces.append(" " if self._rows or self._kind == TERM else _BREAK)
        elif self._rows and tag != "cell":
            if tag in ("list", "item", "row", "head") or tag in _BLOCKS:
                self._pieces.append(" ")
            if tag == "row":
                self._rows.append([])
        elif tag == "cell" and self._rows:
            self._end_cell()
        elif tag == "row":
            self._flush()
            self._rows.append([])
        elif tag == "list":
            self._flush()
            self._numbers.append(0 if element.get("rend") == "ol" else None)
        elif tag == "item":
            self._flush()
            self._begin_item(element.get("rend") or "")
        elif tag in ("head", "cell") or tag in _BLOCKS:
            self._flush()
            self._quotes += tag == "quote"
            self._first_row = True

    def end(self, element: Any) -> None:
        tag = element.tag
        if tag == "row" and self._rows:
            self._end_row()
        elif tag == "cell" and self._rows:
            self._end_cell(even_empty=True)
        elif self._rows:
            if tag in ("list", "item", "head") or tag in _BLOCKS:
                self._pieces.append(" ")
        elif tag == "list":
            self._flush()
            if self._numbers:
                self._numbers.pop()
        elif tag == "item":
            self._flush()
            if self._indents:
                self._indents.pop()
            self._continue_item()
        elif tag == "head":
            level = element.get("rend") or "h2"
            heading = self._markdown and not self._indents
            self._flush("#" * int(level[1:2] if level[1:2].isdecimal() else 2) + " " if heading else "", one_line=True)
        elif tag == "cell" or tag in _BLOCKS:
            self._flush()
            self._quotes -= tag == "quote"

    def code(self, element: Any) -> None:
        text = _verbatim(element)
        parent = element.getparent()
        outside = parent is None or parent.tag in _CODE_IS_A_BLOCK_IN
        if self._rows or not (outside or "\n" in text.strip()):
            core = text.strip()
            if core and self._markdown:
                fence = "``" if "`" in core else "`"
                text = text.replace(core, f"{fence}{core}{fence}", 1)
            self._pieces.append(text)
            return
        self._flush()
        lines = [line.rstrip(_SPACES) for line in text.strip("\n").split("\n")]
        while lines and not lines[-1].strip():
            lines.pop()
        if lines:
            if self._markdown:
                fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
                lines = [fence, *lines, fence]
            indent = self._indent() if self._markdown else ""
            self._emit(PARAGRAPH, [indent + line if line else line for line in lines])

    def finish(self) -> str:
        self._flush()
        parts: list[str] = []
        before = None
        for kind, text in self._blocks:
            if before is not None:
                parts.append("\n" if (before, kind) in _CLOSE else "\n\n")
            parts.append(text)
            before = kind
        return "".join(parts)

    def _indent(self) -> str:
        return self._indents[-1] if self._indents else ""

    def _begin_item(self, rend: str) -> None:
        base, bullet = self._indent(), "- "
        if rend[:2] in ("dt", "dd"):
            bullet = ""
        elif self._numbers and (number := self._numbers[-1]) is not None:
            self._numbers[-1] = number + 1
            bullet = f"{number + 1}. "
        self._marker = base + bullet
        self._kind = TERM if rend.startswith("dt") else ITEM
        self._indents.append(base + " " * len(bullet))

    def _continue_item(self) -> None:
        """Indents the next block to the text of the enclosing list item, if that item has a bullet."""
        self._marker = self._indent()
        self._kind = ITEM if self._marker else PARAGRAPH

    def _end_cell(self, *, even_empty: bool = False) -> None:
        """Makes a cell of the text since the last cell. In a row, text outside of the cells also becomes a cell."""
        text = " ".join("".join(self._pieces).translate(CONTROL).split())
        self._pieces.clear()
        if text or even_empty:
            self._rows[-1].append(text)

    def _end_row(self) -> None:
        self._end_cell()
        cells = self._rows.pop()
        if self._rows:
            self._pieces.append(" ".join(filter(None, cells)))
        elif any(cells):
            if not self._markdown:
                self._emit(ROW, [" | ".join(filter(None, cells))])
                return
            self._emit(ROW, ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"])
            if self._first_row:
                self._emit(ROW, ["|" + " --- |" * len(cells)])
            self._first_row = False

    def _flush(self, prefix: str = "", *, one_line: bool = False) -> None:
        """Makes a block of the text since the last block. Text of only white space makes no block."""
        text = "".join(self._pieces)
        self._pieces.clear()
        if "\n" in text:
            text = _BREAK_INSIDE_CJK.sub("", text)
        found = [" ".join(line.split()) for line in text.translate(CONTROL).split(_BREAK)]
        lines = [" ".join(found).strip()] if one_line else [line for line in found if line]
        if not any(lines):
            return
        hanging = " " * len(self._marker)
        lines = [(hanging if index else self._marker) + prefix + line for index, line in enumerate(lines)]
        self._emit(self._kind, lines)
        self._continue_item()

    def _emit(self, kind: str, lines: list[str]) -> None:
        quote = "> " * self._quotes if self._markdown else ""
        self._blocks.append((kind, "\n".join(f"{quote}{line}".rstrip(" ") for line in lines)))


def _verbatim(code: Any) -> str:
    """The text of a code block with its line breaks and without its markup."""
    pieces = []
    for event, element in etree.iterwalk(code, events=("start", "end")):
        if event == "start":
            pieces.append("\n" if element.tag == "lb" else "")
            pieces.append(element.text or "")
        else:
            if element.tag in ("row", "tr", "p", "div", "item"):
                pieces.append("\n")
            pieces.append((element.tail or "") if element is not code else "")
    return "".join(pieces).translate(CONTROL)
