"""The frame of the page: title and style sheet. The page loads no other file and runs no script."""

from __future__ import annotations

from bessemer.report.markup import Content, Html, element, markup

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --panel: #fff; --ink: #1d2127; --quiet: #626b76;
  --line: #e2dfd9; --grid: #ece9e3; --accent: #b4400f; --one: #1f5fa8; --two: #b4400f; --three: #2c7a4b;
  --four: #7b4bb0; --kept: #5b87b8; --hatch: #b4400f; --code: #f3f1ec; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --panel: #1b1f25; --ink: #e4e6e9; --quiet: #98a2ae;
  --line: #2d333b; --grid: #272c33; --accent: #ff9a62; --one: #7db4f2; --two: #ff9a62; --three: #74cf98;
  --four: #c3a2f0; --kept: #41688f; --hatch: #ff9a62; --code: #22272e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 36px 24px 80px; }
header { border-bottom: 3px solid var(--ink); padding-bottom: 18px; }
h1 { font-size: 34px; line-height: 1.15; margin: 0 0 6px; letter-spacing: -.02em; }
h2 { font-size: 21px; margin: 52px 0 14px; padding-top: 10px; border-top: 1px solid var(--line);
  letter-spacing: -.01em; }
h3 { font-size: 15px; margin: 26px 0 8px; }
p { margin: 0 0 12px; max-width: 76ch; }
a { color: inherit; text-decoration-color: var(--quiet); text-underline-offset: 3px; }
.whole { white-space: nowrap; }
.quiet, .lead { color: var(--quiet); } .lead { font-size: 17px; margin: 0 0 14px; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 0; padding: 0; list-style: none; font-size: 14px;
  color: var(--quiet); } .facts b { color: var(--ink); font-weight: 600; }
.status { display: inline-block; border: 1.5px solid currentColor; border-radius: 99px; padding: 0 11px;
  font-weight: 600; font-size: 14px; } .status.bad { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 12px 0 0; font-size: 14px; }
.tiles { display: flex; flex-wrap: wrap; gap: 1px; margin: 26px 0 0; background: var(--line);
  border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.tile { background: var(--panel); padding: 14px 16px; flex: 1 1 22%; min-width: 150px; }
.tile b { display: block; font-size: 25px; line-height: 1.2;
  font-weight: 650; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: 13px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; min-width: min(100%, 620px);
  font-size: 14px; margin: 4px 0 12px; }
th { text-align: left; font-weight: 600; color: var(--quiet); font-size: 13px; border-bottom: 1px solid var(--ink); }
th, td { padding: 6px 22px 6px 0; vertical-align: top; } td { border-bottom: 1px solid var(--line); }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code, pre, .mono { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; font-size: 13px; }
pre { background: var(--code); border-radius: 6px; padding: 12px 14px; margin: 0 0 12px; white-space: pre-wrap;
  overflow-wrap: anywhere; }
figure { margin: 0; } figure.wide { margin: 8px 0 14px; } figcaption { font-weight: 600; font-size: 14px;
  margin-bottom: 4px; display: flex; flex-wrap: wrap; gap: 2px 16px; align-items: baseline; }
.key { font-weight: 400; font-size: 13px; color: var(--quiet); display: inline-flex; gap: 6px; align-items: center; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 26px 30px; }
figure > svg { display: block; width: 100%; height: auto; } .wide { overflow-x: auto; }
.wide > svg { max-width: 900px; min-width: 620px; }
.grid { stroke: var(--grid); } .axis { stroke: var(--quiet); }
.tick { font-size: 11.5px; fill: var(--quiet); font-variant-numeric: tabular-nums; }
.label { font-size: 13px; fill: var(--ink); } .label.quiet { fill: var(--quiet); } .label.strong { font-weight: 600; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.s1 { stroke: var(--one); } .line.s2 { stroke: var(--two); stroke-dasharray: 7 4; }
.line.s3 { stroke: var(--three); stroke-dasharray: 2 4; } .line.s4 { stroke: var(--four); stroke-dasharray: 10 3 2 3; }
.line.faint { stroke: var(--one); stroke-width: 1; opacity: .32; }
.dot.s1 { fill: var(--one); } .dot.s2 { fill: var(--two); } .dot.s3 { fill: var(--three); }
.dot.s4 { fill: var(--four); }
.kept, .span { fill: var(--kept); } .removed { fill: url(#hatching); stroke: var(--hatch); }
.hatch { stroke: var(--hatch); stroke-width: 1.4; } .error { stroke: var(--one); stroke-width: 2; }
.ring { fill: none; stroke: var(--two); stroke-width: 2.5; }
.chance { stroke: var(--two); stroke-width: 2; stroke-dasharray: 4 3; }
.arc { fill: none; stroke: var(--quiet); stroke-width: 1.4; } .head { fill: var(--quiet); }
details { border: 1px solid var(--line); border-radius: 6px; background: var(--panel); margin: 0 0 8px; }
summary { cursor: pointer; padding: 8px 14px; font-size: 14px; } details > div { padding: 2px 14px 12px; }
summary .n { float: right; color: var(--quiet); min-width: 52px; text-align: right; }
summary .bar { float: right; height: 9px; margin-top: 7px; background: var(--hatch); opacity: .55; border-radius: 2px; }
.example { border-left: 3px solid var(--line); padding: 2px 0 2px 14px; margin: 10px 0 14px; font-size: 14px; }
.example .mono { overflow-wrap: anywhere; } blockquote { margin: 6px 0 0; white-space: pre-wrap;
  overflow-wrap: anywhere; color: var(--quiet); font-size: 13.5px; line-height: 1.5; }
.sample { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; } .prompt { font-weight: 600; }
blockquote b { font-weight: 600; }
footer { margin-top: 60px; padding-top: 12px; border-top: 1px solid var(--line); color: var(--quiet); font-size: 13px; }
@media print { details > div { display: block; } main { max-width: none; padding: 0; } nav { display: none; } }
"""


def page(title: str, *content: Content) -> str:
    """A whole HTML document."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(_STYLE)),
    )
    document = element("html", head, element("body", element("main", *content)), lang="en")
    return f"<!doctype html>\n{document}\n"


def section(name: str, title: str, *content: Content) -> Html | None:
    """A section with a heading, or None if `content` is empty."""
    inside = markup(*content)
    return element("section", element("h2", title), inside, id=name) if inside else None


def tile(value: str, label: str) -> Html:
    return element("div", element("b", value), element("span", label), class_="tile")


def fold(title: str, *content: Content) -> Html:
    """A title and hidden content. A click on the title shows the content."""
    return element("details", element("summary", title), element("div", *content))
