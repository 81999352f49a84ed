"""Renders pages: the frame (header, navigation, breadcrumbs, sidebar, footer) and the article.

An article shows each entry as a heading, a paragraph with the signature, and the docstring. So the extracted text has
the form `signature, newline, summary`, and the multiple-choice questions of `questions.py` use the same form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from bessemer.docsite.catalog import Entry
from bessemer.docsite.docstring import readme_to_html, summary_of, to_html
from bessemer.docsite.groups import Group
from bessemer.docsite.source import README, TOPIC

STYLE = """\
:root { --ink: #1c2733; --soft: #5b6b7b; --line: #dde3ea; --accent: #1f5f8b; --paper: #fff; --shade: #f5f7fa }
* { box-sizing: border-box }
body { margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.6 system-ui, sans-serif }
a { color: var(--accent); text-decoration: none } a:hover { text-decoration: underline }
header.site { display: flex; gap: 2rem; align-items: baseline; padding: .8rem 2rem; background: #16324a }
header.site a { color: #dbe8f3 } header.site .name { font-weight: 700; font-size: 1.1rem; color: #fff }
header.site nav a { margin-right: 1.2rem }
.breadcrumbs { padding: .6rem 2rem; font-size: .85rem; color: var(--soft); border-bottom: 1px solid var(--line) }
.columns { display: grid; grid-template-columns: 15rem minmax(0, 48rem); gap: 3rem; padding: 1.5rem 2rem }
aside { font-size: .85rem; border-right: 1px solid var(--line); padding-right: 1rem }
main { grid-column: 2 } td { border-top: 1px solid var(--line); padding: .25rem 1rem .25rem 0; vertical-align: top }
aside ul { list-style: none; margin: 0; padding: 0 } aside li { padding: .15rem 0; overflow-wrap: anywhere }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .4rem; padding-top: 1rem; border-top: 1px solid var(--line) }
aside h2 { border: 0; padding: 0; margin: 0 0 .4rem; font-size: .75rem; color: var(--soft) }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem }
code, pre { font: .88em/1.5 ui-monospace, Menlo, Consolas, monospace }
pre { background: var(--shade); border: 1px solid var(--line); padding: .7rem 1rem; overflow-x: auto }
.signature { background: var(--shade); border-left: 3px solid var(--accent); padding: .4rem .8rem }
.note { border-left: 3px solid #c9a227; background: #fdf9ec; padding: .1rem 1rem; margin: 1rem 0 }
.contents p { margin: 0 0 .7rem; color: var(--soft); overflow-wrap: anywhere } .contents code { color: var(--ink) }
footer { border-top: 1px solid var(--line); padding: 1rem 2rem; font-size: .8rem; color: var(--soft) }
footer a { margin-right: .8rem }
@media (max-width: 50rem) { .columns { display: block } aside { display: none } }
"""

Link = tuple[str, str]
"""Text and address."""


@dataclass(frozen=True)
class Frame:
    """The parts of a page that are the same on a whole site: its name, version and license, and the other sites."""

    site: str
    version: str
    license: str
    other_sites: tuple[str, ...]


def page(
    frame: Frame,
    title: str,
    article: str,
    *,
    path: tuple[Link, ...] = (),
    neighbours: tuple[Link, ...] = (),
    head: str = "",
    language: str = "en",
    charset: str = "utf-8",
) -> str:
    """A whole HTML page around an article."""
    crumbs = " &rsaquo; ".join(_link(link) for link in (("Home", "/"), *path))
    sidebar = f"<aside>\n<h2>On this site</h2>\n<ul>\n{_list(neighbours)}\n</ul>\n</aside>" if neighbours else ""
    others = "".join(_link((host, f"http://{host}/")) for host in frame.other_sites)
    licensed = f"<p>Text under {_licenses(frame.license)}</p>" if frame.license else ""
    return f"""<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="{charset}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} — {escape(frame.site)}</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="/icon.svg" type="image/svg+xml">{head}
</head>
<body>
<header class="site"><a class="name" href="/">{escape(frame.site)} {escape(frame.version)}</a>
<nav><a href="/">Modules</a><a href="/about.html">About</a><a href="/contact.html">Contact</a>\
<a href="/search/">Search</a></nav></header>
<nav class="breadcrumbs" aria-label="breadcrumbs">{crumbs}</nav>
<div class="columns">
{sidebar}
<main>
<article>
<h1>{escape(title)}</h1>
{article}
</article>
</main>
</div>
<footer>
<nav>{others}</nav>
{licensed}
<p>This site uses no cookies. Rendered from the installed documentation.</p>
</footer>
</body>
</html>
"""


def anchor(number: int) -> str:
    """The `id` of a section. It is a number: extractors drop sections named `nav`, `share`, `related` or `tags`."""
    return f"s{number}"


def sections(entries: Sequence[Entry]) -> Iterator[str]:
    """Renders heading, signature and docstring of each entry."""
    for number, entry in enumerate(entries):
        if entry.kind == README:
            yield readme_to_html(entry.doc)
            continue
        heading = ""
        if entry.kind != TOPIC:
            name, signature = escape(entry.name, quote=False), escape(entry.signature, quote=False)
            heading = f'<h2>{name}</h2>\n<p class="signature"><code>{signature}</code></p>\n'
        yield f'<section id="{anchor(number)}">\n{heading}{to_html(entry.doc)}\n</section>'


def contents(group: Group, addresses: dict[Entry, str]) -> str:
    """The signatures of a group with summaries. Only names are links: extractors drop lines that consist of links."""
    rows = []
    for entry in group.entries:
        name, bracket, rest = escape(entry.signature, quote=False).partition("(")
        link = f'<a href="{escape(addresses[entry])}">{name}</a>'
        rows.append(f"<p><code>{link}{bracket}{rest}</code><br>{escape(entry.summary, quote=False)}</p>")
    return '<h2>Contents</h2>\n<div class="contents">\n' + "\n".join(rows) + "\n</div>"


def introduction(group: Group) -> str:
    return to_html(group.doc) if group.doc else ""


def first_sentence(group: Group) -> str:
    """The first sentence of a group's documentation, for the list on the home page."""
    return escape(summary_of(group.doc), quote=False)


def _link(link: Link) -> str:
    return f'<a href="{escape(link[1])}">{escape(link[0])}</a>'


def _licenses(expression: str) -> str:
    """An SPDX expression with a link for each identifier in it."""
    return " ".join(
        word
        if word in ("AND", "OR", "WITH")
        else f'<a rel="license" href="https://spdx.org/licenses/{word}.html">{word}</a>'
        for word in escape(expression).replace("(", " ").replace(")", " ").split()
    )


def _list(links: tuple[Link, ...]) -> str:
    return "\n".join(f"<li>{_link(link)}</li>" for link in links)
