"""render: the text of a tree, with nothing lost and code as it was."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from bessemer.extract.render import render

TAGS = ("p", "head", "quote", "list", "item", "table", "row", "cell", "code", "lb", "hi", "div", "td", "unknown")


@st.composite
def trees(draw: st.DrawFn) -> tuple[etree._Element, list[str]]:
    """A random tree in which every piece of text is one unique word."""
    words: list[str] = []

    def text() -> str:
        words.append(f"w{len(words)}x")
        return f" {words[-1]} "

    root = etree.Element("body")
    root.text = text()
    elements = [root]
    for _ in range(draw(st.integers(0, 25))):
        parent = elements[draw(st.integers(0, len(elements) - 1))]
        child = etree.SubElement(parent, draw(st.sampled_from(TAGS)))
        child.text, child.tail = text(), text()
        if child.tag in ("item", "list", "head"):
            child.set("rend", draw(st.sampled_from(["ol", "ul", "dt-1", "dd-1", "h3"])))
        elements.append(child)
    return root, words


@settings(max_examples=150, deadline=None)
@given(trees(), st.booleans())
def test_every_word_of_the_tree_is_written_once(tree: tuple[etree._Element, list[str]], markdown: bool) -> None:
    root, words = tree
    assert sorted(re.findall(r"w\d+x", render(root, markdown=markdown))) == sorted(words)


@pytest.mark.parametrize(
    ("body", "text", "markdown"),
    [
        ("<p>One\n  line  of text</p><p>another</p>", "One line of text\n\nanother", None),
        ("<p>a<lb/>b</p>", "a\nb", None),
        ("<head rend='h3'>Title</head><p>text</p>", "Title\n\ntext", "### Title\n\ntext"),
        ("<p>call <code>f(x)</code> now</p>", "call f(x) now", "call `f(x)` now"),
        ("<code>if x:\n    y</code>", "if x:\n    y", "```\nif x:\n    y\n```"),
        ("<code>a ``` b\nc</code>", "a ``` b\nc", "````\na ``` b\nc\n````"),
        ("<quote><p>said</p></quote>", "said", "> said"),
        ("<p>日本\n語</p>", "日本語", None),
        ("<p>snake_case *x*</p>", "snake_case *x*", None),
        (
            "<list rend='ol'><item>a<list rend='ul'><item>b</item></list></item><item><p>c</p><p>d</p></item></list>",
            "1. a\n   - b\n2. c\n   d",
            None,
        ),
        (
            "<list rend='dl'><item rend='dt-1'>term</item><item rend='dd-1'><p>one</p><p>two</p></item></list>",
            "term\none\n\ntwo",
            None,
        ),
        (
            "<table><row><cell role='head'>a</cell><cell>b|c</cell></row><row><cell/><cell>d</cell></row></table>",
            "a | b|c\nd",
            "| a | b\\|c |\n| --- | --- |\n|  | d |",
        ),
    ],
)
def test_forms(body: str, text: str, markdown: str | None) -> None:
    tree = etree.fromstring(f"<body>{body}</body>")
    assert render(tree, markdown=False) == text
    assert render(tree, markdown=True) == (text if markdown is None else markdown)


def test_blanks_inside_a_line_of_code_stay_and_take_linear_time() -> None:
    body = etree.fromstring(f"<body><code>a{' ' * 200_000}b \u3000\u00a0\nc\t \n</code></body>")
    assert render(body, markdown=False) == f"a{' ' * 200_000}b\nc\t"


def test_depth_costs_no_recursion() -> None:
    root = etree.Element("body")
    place = root
    for _ in range(5000):
        place = etree.SubElement(place, "div")
    place.text = "deep"
    assert render(root, markdown=False) == "deep"
