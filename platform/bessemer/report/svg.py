"""Builds SVG elements with escaped text and attribute values."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Content = str | float | Iterable["Content"] | None


def element(name: str, /, *content: Content, **attributes: str | float | None) -> Markup:
    """`element("text", "label", x=3, class_="tick")`.

    Content is text, numbers, `Markup`, or an iterable of these; None adds nothing. Attributes that are None are left
    out. In attribute names, trailing underscores are dropped and `_` becomes `-`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{join(content)}</{name}>")


def join(content: Iterable[Content]) -> Markup:
    """Concatenates content. Escapes everything that is not `Markup`."""
    parts = (escape(c) if isinstance(c, str | float | int) else join(c) for c in content if c is not None)
    return Markup("").join(parts)
