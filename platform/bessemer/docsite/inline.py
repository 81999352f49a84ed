"""Converts inline markup of docstrings to HTML: code, roles, links, emphasis. Leaves out references to footnotes."""

from __future__ import annotations

import re
from html import escape

_MARKUP = re.compile(r"[`*\[\\]")
"""Matches every line with markup. Most lines have none and skip the slower pattern."""
_INLINE = re.compile(
    r"``(?P<code>.+?)``"
    r"|(?<!\w):(?:[\w+-]+:){1,2}`(?P<role>[^`]+)`"
    r"|`(?P<title>[^`<>]+?)\s*<(?P<target>[^`<>]+)>`_{1,2}"
    r"|!?\[(?P<link>[^\[\]]*)\]\((?P<href>[^()\s]+)\)"
    r"|\[`?(?P<reference>[^\[\]`]+)`?\]\[[^\[\]]*\]"
    r"|\s?\((?:\[[\w#-]+\]_[,;\s]*)+\)|\s?\[(?:\d+|#\w*)\]_(?!\w)"
    r"|`(?P<name>[^`\n]+)`(?:_{1,2}(?!\w))?"
    r"|\*\*(?P<strong>[^*\s](?:[^*]*[^*\s])?)\*\*"
    r"|(?<![\w*])\*(?P<emphasis>[^*\s](?:[^*]*[^*\s])?)\*(?![\w*])"
    r"|\\(?P<escaped>[*_`|\\ ])"
)


def inline(text: str) -> str:
    """Converts a text to one line of HTML. Joins runs of white space to one space, as a browser does."""
    text = " ".join(text.split())
    if not _MARKUP.search(text):
        return escape(text, quote=False)
    parts, end = [], 0
    for match in _INLINE.finditer(text):
        parts += [escape(text[end : match.start()], quote=False), _styled(match)]
        end = match.end()
    return "".join([*parts, escape(text[end:], quote=False)])


def _styled(match: re.Match[str]) -> str:
    group = match.lastgroup
    if group is None:
        return ""
    text = escape(match[group].strip(), quote=False)
    if group == "role":
        shown = re.sub(r"\s*<[^<>]*>$", "", match["role"]).lstrip("!")
        shown = shown[1:].rpartition(".")[2] if shown.startswith("~") else shown
        return f"<code>{escape(shown, quote=False)}</code>"
    if group in ("target", "href"):
        title = escape(match["title"] or match["link"] or "", quote=False)
        url = match[group]
        return f'<a href="{escape(url)}">{title}</a>' if url.startswith(("http://", "https://")) else title
    if group in ("code", "name", "reference"):
        return f"<code>{text}</code>"
    if group == "escaped":
        return "" if match["escaped"] == " " else escape(match["escaped"])
    return f"<strong>{text}</strong>" if group == "strong" else f"<em>{text}</em>"
