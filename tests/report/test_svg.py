"""Tests that any text survives as content and as an attribute value."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from bessemer.report.svg import element, join


class Read(HTMLParser):
    def __init__(self, document: str) -> None:
        super().__init__()
        self.text = ""
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(str(document))
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_survives_as_content_and_as_attribute(text: str) -> None:
    read = Read(element("p", text, title=text))
    assert (read.tags, read.text, read.attributes) == (["p"], text, [("title", text)])


def test_markup_is_not_escaped_twice_and_none_adds_nothing() -> None:
    assert join(["<", Markup("<b>"), None, ["&", [1, 2.5]]]) == "&lt;<b>&amp;12.5"
    assert element("rect", class_="a", text_anchor="end", id=None) == '<rect class="a" text-anchor="end"></rect>'
