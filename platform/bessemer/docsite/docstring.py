"""Converts docstrings to HTML: reStructuredText, numpydoc, Google style, a little Markdown, and plain text.

One pass over the lines classifies each block: doctest, literal block, directive, heading, list, table, definition or
paragraph. Blocks that only a typesetter understands (formulas, plots, tables of contents, labels) are left out. The aim
is text that reads well after extraction from the page, not a complete markup parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape, unescape

from bessemer.docsite.inline import inline

_UNDERLINE = re.compile(r"([=\-~^\"*#+_])\1{2,}\s*")
_TABLE = re.compile(r"\s*(\+[-=]+\+|={2,} +=|-{3,} +-|\|.*\|\s*$)")
_DIRECTIVE = re.compile(r"\.\. ([\w:-]+)::\s*(.*)")
_ADMONITION = re.compile(r"!!! (\w+)\s*(.*)")
_BULLET = re.compile(r"([-*+•]|\d{1,2}[.)]|\(\d{1,2}\)|#\.)\s+(?=\S)")
_FIELD = re.compile(
    r":(param|parameter|arg|argument|key|keyword|kwarg|type|rtype|returns?|raises?|except|exception|[ic]?var|yields?|meta)"
    r"((?:\s+[^:`]+)?):(?:\s+(.*))?"
)
_GOOGLE = re.compile(
    r"(Args|Arguments|Keyword args|Keyword Args|Keyword Arguments|Parameters|Attributes|Returns|Return|Yields|Raises"
    r"|Example|Examples|Note|Notes|Shape|Inputs|Outputs|Input|Output|Usage|Warning|References|See Also):\s*"
)
_ITEM_SECTIONS = re.compile(
    r"(?i)(parameters|other parameters|args|arguments|keyword arg.*|attributes|returns?|yields|receives|raises|warns"
    r"|methods|see also)"
)
_CODE_LINE = re.compile(r"[={}<>|]|\w\(|--|\w\[|\S {3,}\S|^\s*(?:import|from|def|class|for|return|[%$#@/])\b")
_DOCTEST_OPTION = re.compile(r"[ \t]*#\s*doctest:.*$", re.MULTILINE)
_ITEM_TERM = re.compile(r"(\*{0,2}[\w.`*, ]+?)\s*(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\))?\s*:\s+(.*)")

_LEAD_LINES = 15
"""Number of lines at the start of a docstring that are searched for its first sentence."""

_NOTES = {"note", "warning", "warn", "tip", "hint", "important", "caution", "attention", "danger", "info"}
_VERSIONS = {"versionadded": "New in version", "versionchanged": "Changed in version", "deprecated": "Deprecated since"}
_CODE_DIRECTIVES = {"code-block", "code", "sourcecode", "doctest", "testcode", "parsed-literal", "ipython", "prompt"}

_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|eq|fig|no|approx|resp|al|viz|incl|w\.r\.t)|\b[A-Z])\.$", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?]['\")]?(?=\s+[^a-z\s]|\s*$)")


def to_html(doc: str) -> str:
    """Converts a docstring, dedented as by `inspect.cleandoc`, to HTML."""
    return "\n".join(_blocks([line.rstrip() for line in doc.expandtabs().split("\n")]))


def readme_to_html(text: str) -> str:
    """Converts a README (Markdown or reStructuredText) to HTML, without badges, pictures and raw HTML."""
    text = re.sub(r"<!--.*?-->|<(?:style|script|svg)\b.*?</(?:style|script|svg)>", "", text, flags=re.DOTALL)
    text = re.sub(r"\[?!\[[^\]]*\]\([^)]*\)(?:\]\([^)]*\))?|\[?!\[[^\]]*\]\[[^\]]*\](?:\]\[[^\]]*\])?", "", text)
    text = re.sub(r"</?[a-zA-Z][^<>\n]*>", "", text)
    text = re.sub(r"(?m)^\[[^\]]+\]:\s+\S+.*$|^\.\. _.*$|^\.\. \|.*$(?:\n +.*$)*", "", text)
    return to_html(unescape(text))


def summary_of(doc: str) -> str:
    """The first sentence of a docstring, as plain text; empty if the docstring does not start with a paragraph."""
    lines = [line.rstrip() for line in doc.expandtabs().split("\n")[:_LEAD_LINES]]
    end = next((number for number, line in enumerate(lines) if not line), len(lines))
    first = next(iter(_blocks(lines[:end]) or _blocks(lines)), "")
    if not first.startswith("<p>"):
        return ""
    text = unescape(re.sub(r"<[^<>]*>", "", first))
    for match in _SENTENCE_END.finditer(text):
        if not _ABBREVIATION.search(text[: match.end()]):
            return text[: match.end()]
    return text


def _blocks(lines: list[str]) -> list[str]:
    """Converts dedented lines to a list of HTML blocks."""
    found: list[str] = []
    items: list[str] = []
    position, after_colons = 0, False

    def end_list() -> None:
        if items:
            found.append("<ul>\n" + "\n".join(items) + "\n</ul>")
            items.clear()

    def add_item(term: str, body: list[str]) -> None:
        """Adds a list item. The blocks of a long `body` go outside the list, so that code keeps its lines."""
        inner = _blocks(_dedent(body))
        if not inner:
            items.append(f"<li>{term}</li>")
        elif len(inner) == 1 and inner[0].startswith("<p>"):
            items.append(f"<li>{term}{': ' if term else ''}{inner[0][3:-4]}</li>")
        else:
            end_list()
            lead = inner.pop(0)[3:-4] if inner[0].startswith("<p>") else ""
            found.append(f"<p>{term}{': ' if term and lead else ''}{lead}</p>")
            found.extend(inner)

    while position < len(lines):
        line = lines[position]
        stripped = line.strip()
        following = lines[position + 1] if position + 1 < len(lines) else ""
        literal, after_colons = after_colons, False
        if not stripped:
            position += 1
            after_colons = literal
            continue
        if stripped.startswith((">>>", "```")) or (literal and line[0] == " "):
            end_list()
            code, position = (_fenced if stripped.startswith("```") else _code)(lines, position, literal)
            found.append(_pre(code))
        elif line[0] == " ":
            end_list()
            block, position = _indented(lines, position)
            found += [_pre(block)] if _looks_like_code(block) else _blocks(_dedent(block))
        elif match := _DIRECTIVE.match(line) or _ADMONITION.match(line):
            end_list()
            body, position = _indented(lines, position + 1)
            found += _directive(match[1], match[2], _dedent(body))
        elif line.startswith(".. ["):
            body, position = _indented(lines, position + 1)
            add_item("", [line.partition("]")[2].strip(), *(text.strip() for text in body)])
        elif line.startswith(".."):
            _, position = _indented(lines, position + 1)
        elif _UNDERLINE.fullmatch(stripped):
            position += 1
        elif match := re.match(r"#{1,6}\s+(.+?)\s*#*$", line):
            end_list()
            found.append(f"<h3>{inline(match[1])}</h3>")
            position += 1
        elif _UNDERLINE.fullmatch(following.strip()) and len(stripped) < 100:
            end_list()
            found.append(f"<h3>{inline(stripped)}</h3>")
            position += 2
            if _ITEM_SECTIONS.fullmatch(stripped):
                section, position = _section(lines, position)
                for term, body in _numpydoc_items(section, is_index=stripped.lower() in ("see also", "methods")):
                    add_item(term, body)
        elif _GOOGLE.fullmatch(line):
            end_list()
            section, position = _indented(lines, position + 1)
            if any(section):
                found.append(f"<h3>{stripped[:-1]}</h3>")
            section = _dedent(section)
            if _ITEM_SECTIONS.fullmatch(stripped[:-1]) and _ITEM_TERM.match(next(filter(None, section), "")):
                for term, body in _google_items(section):
                    add_item(term, body)
            else:
                found += _blocks(section)
        elif _TABLE.match(line):
            end_list()
            table, position = _while(lines, position, lambda text: bool(text.strip()))
            found.append(_table(table) or _pre(table))
        elif match := _FIELD.fullmatch(line):
            body, position = _indented(lines, position + 1)
            name = match[2].split()[-1] if match[2].strip() else match[1].capitalize()
            if match[1] not in ("type", "rtype", "meta"):
                add_item(f"<strong>{escape(name)}</strong>", [match[3] or "", *_dedent(body)])
        elif match := _BULLET.match(line):
            body, position = _indented(lines, position + 1)
            add_item("", [line[match.end() :], *_dedent(body)])
        else:
            paragraph, position = _paragraph(lines, position)
            text = " ".join(part.strip() for part in paragraph)
            if len(paragraph) == 1 and position < len(lines) and lines[position].startswith(" "):
                body, position = _indented(lines, position)
                if text.endswith(":") or _looks_like_code(body):
                    end_list()
                    found += [f"<p>{inline(text.replace('::', ':'))}</p>", _pre(body)]
                else:
                    add_item(f"<strong>{inline(text)}</strong>", body)
                continue
            end_list()
            after_colons = text.endswith("::")
            text = text[:-1] if after_colons else text
            if text != ":" and (inner := inline(text).strip()):
                found.append(f"<p>{inner}</p>")
    end_list()
    return found


def _directive(name: str, argument: str, body: list[str]) -> list[str]:
    name = name.lower()
    if name in _NOTES or name == "seealso":
        inner = _blocks([argument.strip('"'), "", *body])
        return [
            '<div class="note">',
            f"<p><strong>{'See also' if name == 'seealso' else name.capitalize()}</strong></p>",
            *inner,
            "</div>",
        ]
    if name in _VERSIONS:
        version, _, text = argument.partition(" ")
        rest = " ".join([text, *(line.strip() for line in body if line.strip())]).strip()
        return [f"<p><em>{_VERSIONS[name]} {escape(version)}{': ' if rest else '.'}</em>{inline(rest)}</p>"]
    if name in _CODE_DIRECTIVES:
        while body and (not body[0].strip() or body[0].startswith(":")):
            body = body[1:]
        return [_pre(body)] if body else []
    if name == "rubric":
        return [f"<h3>{inline(argument)}</h3>"]
    if name in ("topic", "admonition"):
        return [f"<h3>{inline(argument)}</h3>", *_blocks(body)]
    return []


def _numpydoc_items(lines: list[str], *, is_index: bool) -> list[tuple[str, list[str]]]:
    """Parses items `name : type` with an indented description. In an index, the description follows the colon."""
    items: list[tuple[str, list[str]]] = []
    for line in lines:
        if line and line[0] != " ":
            term, _, kind = re.sub(r"\s*:(?=\s|$)", "\0", line, count=1).partition("\0")
            shown, kind = f"<strong>{inline(term.strip())}</strong>", kind.strip()
            if is_index:
                items.append((shown, [kind] if kind else []))
            else:
                items.append((f"{shown} ({inline(kind)})" if kind else shown, []))
        elif items:
            items[-1][1].append(line.strip() if is_index else line)
    return items


def _google_items(lines: list[str]) -> list[tuple[str, list[str]]]:
    """Parses items `name (type): description` whose further lines are indented."""
    items: list[tuple[str, list[str]]] = []
    for line in lines:
        match = _ITEM_TERM.match(line) if line and line[0] != " " else None
        if match:
            kind = f" ({inline(match[2])})" if match[2] else ""
            items.append((f"<strong>{inline(match[1].strip())}</strong>{kind}", [match[3]]))
        elif items and (not line or line[0] == " "):
            items[-1][1].append(line)
        elif line:
            items.append(("", [line]))
    return [(term, [*body[:1], *_dedent(body[1:])]) for term, body in items]


def _code(lines: list[str], position: int, literal: bool) -> tuple[list[str], int]:
    """A literal block or a doctest session with its output. Blank lines between two sessions do not separate them."""
    if literal:
        return _indented(lines, position)
    start = position
    while position < len(lines):
        while position < len(lines) and lines[position].strip():
            position += 1
        following = position
        while following < len(lines) and not lines[following].strip():
            following += 1
        if following == len(lines) or not lines[following].lstrip().startswith((">>>", "... ")):
            break
        position = following
    return lines[start:position], position


def _fenced(lines: list[str], position: int, literal: bool) -> tuple[list[str], int]:
    end = next((i for i in range(position + 1, len(lines)) if lines[i].strip().startswith("```")), len(lines))
    return lines[position + 1 : end], end + 1


def _indented(lines: list[str], position: int) -> tuple[list[str], int]:
    """The indented and blank lines from `position`, and the position after them."""
    return _while(lines, position, lambda line: not line or line[0] == " ")


def _section(lines: list[str], position: int) -> tuple[list[str], int]:
    """The lines before the next underlined heading, and the position of the heading."""
    end = position
    while end < len(lines) and not (
        end + 1 < len(lines) and lines[end].strip() and _UNDERLINE.fullmatch(lines[end + 1])
    ):
        end += 1
    return lines[position:end], end


def _table(lines: list[str]) -> str:
    """The HTML of a simple table (framed by lines `=== ===`), or "" for any other kind of table."""
    rules = [number for number, line in enumerate(lines) if not line.strip(" =") and "=" in line]
    if rules[:1] != [0] or rules[-1] != len(lines) - 1 or len(rules) > 3:
        return ""
    starts = [match.start() for match in re.finditer("=+", lines[0])]
    spans = list(zip(starts, [*starts[1:], None], strict=True))
    rows: list[list[str]] = []
    for line in lines[1:-1]:
        cells = [line[start:end].strip() for start, end in spans]
        if rows and not cells[0]:
            rows[-1] = [f"{above} {cell}".strip() for above, cell in zip(rows[-1], cells, strict=True)]
        elif "".join(cells).strip("= "):
            rows.append(cells)
    body = "\n".join(f"<tr>{''.join(f'<td>{inline(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>\n{body}\n</table>"


def _while(lines: list[str], position: int, condition: Callable[[str], bool]) -> tuple[list[str], int]:
    end = position
    while end < len(lines) and condition(lines[end]):
        end += 1
    return lines[position:end], end


def _paragraph(lines: list[str], position: int) -> tuple[list[str], int]:
    """Unindented lines up to a blank line or the start of another kind of block, and the position after them."""
    end = position + 1
    while end < len(lines) and lines[end].strip() and lines[end][0] != " " and not _starts_other_block(lines, end):
        end += 1
    return lines[position:end], end


def _starts_other_block(lines: list[str], position: int) -> bool:
    line = lines[position]
    following = lines[position + 1].strip() if position + 1 < len(lines) else ""
    return bool(
        line.startswith((">>>", "..", "```", " "))
        or _BULLET.match(line)
        or _FIELD.fullmatch(line)
        or _GOOGLE.fullmatch(line)
        or _UNDERLINE.fullmatch(line.strip())
        or _UNDERLINE.fullmatch(following)
        or _TABLE.match(line)
    )


def _looks_like_code(lines: list[str]) -> bool:
    written = [line for line in lines if line.strip()]
    return 2 * sum(bool(_CODE_LINE.search(line) or _TABLE.match(line)) for line in written) > len(written)


def _dedent(lines: list[str]) -> list[str]:
    widths = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    width = min(widths, default=0)
    return [line[width:].rstrip() for line in lines]


def _pre(lines: list[str]) -> str:
    text = _DOCTEST_OPTION.sub("", "\n".join(_dedent(lines)).strip("\n"))
    return f"<pre><code>{escape(text, quote=False)}</code></pre>"
