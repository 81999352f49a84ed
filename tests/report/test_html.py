"""Tests that templates escape every value, and that a mistake in a template is an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from tests.report.test_svg import Read

from bessemer.report.html import render, render_file

TEMPLATE = """
<p title="{{ text }}">{{ text }}</p>{{ table([(text, "n")], [[text]]) }}
{%- call fold(text) %}{{ text | term }}{% endcall %}
"""
TAGS = ["p", "div", "table", "thead", "tr", "th", "tbody", "tr", "td", "details", "summary", "div"]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map("§{}".format))
def test_any_text_survives_as_text_and_as_attribute_in_templates_and_macros(text: str) -> None:
    read = Read(render(TEMPLATE, text=text))
    assert read.tags == TAGS
    assert read.attributes[0] == ("title", text)
    assert ("data-title", text) in read.attributes
    assert read.text.count(text) == 5


def test_text_of_a_page_file_is_escaped() -> None:
    page = render_file("page.html", title="<i>", header="<i>", key_figures="", sections=[], footer="<i>")
    assert page.count("&lt;i&gt;") == 3
    assert "<i>" not in page


def test_an_unknown_name_in_a_template_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'titel' is undefined"):
        render("{{ titel }}", title="x")
