"""Builds HTML and SVG. Escapes every text that is not `Html`, so that content cannot break the page.

Control characters are written out: HTML forbids most of them, and bidirectional overrides would reorder a text.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from bessemer.terminal import printable


class Html(str):
    """A string that is markup and is not escaped again."""

    __slots__ = ()


Content = str | int | float | Iterable["Content"] | None

_VOID = frozenset({"br", "hr", "meta"})


def markup(*content: Content) -> Html:
    """Joins content: keeps `Html`, escapes texts and numbers, joins the items of an iterable, skips None."""
    parts = []
    for item in content:
        if item is None:
            continue
        if isinstance(item, Html):
            parts.append(str(item))
        elif isinstance(item, str | int | float):
            parts.append(escape(printable(str(item))))
        else:
            parts.append(str(markup(*item)))
    return Html("".join(parts))


def element(name: str, /, *content: Content, **attributes: str | float | None) -> Html:
    """`element("a", "text", href="#x", class_="y")`.

    Leaves out attributes that are None. In attribute names, drops trailing underscores and writes `_` as `-`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{markup(*content)}</{name}>")


def table(header: Iterable[Content], rows: Iterable[Iterable[Content]], *, numeric: Iterable[int] = ()) -> Html:
    """A table that scrolls sideways in a narrow window. Aligns the columns whose index is in `numeric` to the right."""
    right = set(numeric)

    def cells(tag: str, row: Iterable[Content]) -> Html:
        return markup(element(tag, cell, class_="n" if index in right else None) for index, cell in enumerate(row))

    head = element("thead", element("tr", cells("th", header)))
    body = element("tbody", (element("tr", cells("td", row)) for row in rows))
    return element("div", element("table", head, body), class_="scroll")
