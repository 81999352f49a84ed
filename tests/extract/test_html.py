"""html: a page is parsed whole or refused with a reason, within limits that do not depend on the clock."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.artifacts.ledger import Removed
from bessemer.extract import html


def parse(content: bytes, max_nodes: int = 10_000) -> str:
    return str(html.parse(content, max_nodes=max_nodes).text_content())


def refusal(content: bytes, max_nodes: int = 10_000) -> str:
    with pytest.raises(Removed) as refused:
        html.parse(content, max_nodes=max_nodes)
    return refused.value.rule


def test_text_below_256_elements_and_after_ten_megabytes_is_not_lost() -> None:
    """By default, libxml2 stops at these limits without an error."""
    assert parse(b"<body>" + b"<div>" * 400 + b"deep" + b"</div>" * 400 + b"<p>after</p>") == "deepafter"
    assert parse(b"<body><p>" + b"a " * 6_000_000 + b"</p><p>after</p>").endswith("after")


def test_limits_have_their_verdicts() -> None:
    assert refusal(b"<p>a</p>" * 200, max_nodes=100) == "too_many_nodes"
    assert refusal(b"<div>" * 1000 + b"x") == "too_deep"
    assert refusal(b"<div>" * 5000 + b"x", max_nodes=1000) in ("too_deep", "too_many_nodes")
    assert refusal(b"no markup at all, 1 < 2") == "not_html"
    assert refusal(b" \n\t") == "empty_text"
    assert refusal(b"<?xml version='1.0'?>") == "empty_text"


@pytest.mark.parametrize(
    "tag",
    [
        "<a {} >",
        "<x-y\n{}\n>",
        "<a/{}/>",
        "<1 ><svg\t{}>",
        "<a<b {}>",
        "<!-- <i x='> --><a {} >",
        "<script>for (i = 0; i <n; i++) {{'}}</script><a {} >",
    ],
)
@pytest.mark.parametrize(
    ("attribute", "between"),
    [
        ("a{}", " "),
        ("a{}=1", "\n"),
        ("a{}='>'", " "),
        ('a{}="<b>"', ""),
        ("a{} = x>y<", " "),
        ("={}", " / "),
        ("'{}", "/"),
    ],
)
def test_attributes_are_counted_in_every_form_of_a_tag(tag: str, attribute: str, between: str) -> None:
    """libxml2 takes hours for an element with a million attributes."""

    def page(count: int) -> bytes:
        attributes = between.join(attribute.format(number) for number in range(count))
        return f"<body>{tag.format(attributes)}".encode()

    if "x>y" not in attribute:  # ends an element
        assert refusal(page(html.MAX_ATTRIBUTES + 3)) == "too_many_attributes"
    html.parse(page(html.MAX_ATTRIBUTES), max_nodes=10_000)


def test_attributes_of_a_large_page_are_counted_and_the_text_of_a_script_is_not_an_element() -> None:
    attributes = " ".join(f"a{number}" for number in range(257))
    assert refusal(b"<body>" + b"x" * (600 << 10) + f"<a {attributes}>".encode()) == "too_many_attributes"
    assert parse(f"<body><script>if (i <n) {attributes}</script><p>text".encode()).endswith("text")
    began = time.process_time()
    refusal(b"<body><a " + b" ".join(b"a%d=1" % number for number in range(300_000)) + b">")
    for piece in (b"<", b"<a", b"< ", b"<a b='", b'<a b="', b"<a =", b"<a\t\t", b"<a b<"):
        html.parse(b"<p>" + piece * (400_000 // len(piece)), max_nodes=10_000)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("content", "demanding"),
    [
        (b"<p>x" * 2900, False),
        (b"<p>x" * 3100, True),
        (b"<div>" * 60 + b"x", False),
        (b"<p>x</p>" * 100 + b"<div>" * 70 + b"x", True),
    ],
)
def test_pages_with_many_or_deep_elements_are_demanding(content: bytes, demanding: bool) -> None:
    assert html.is_demanding(html.parse(content, max_nodes=10_000)) is demanding


@pytest.mark.parametrize(
    "content",
    [
        "<html><body><p>one</p></body></html><p>two</p>three",
        "<html><body><p>one</p></body><p>two</p></html>three",
        "<html><body><p>one</p></body></html><html><body><p>two</p>three</body></html>",
        "<html><body><p>one</p></body><body class=x><p>two</p>three</body></html>",
        "<html><body><p>one</body></html></body></html><p>two</html>three",
        "<html><head></head></html><!doctype html><html><body><p>one</p><p>two</p>three</body></html>",
        "<html><body /><p>one</p><p>two</p>three</html>",
        "</html><p>one<p>two</p>three",
    ],
)
def test_text_after_the_end_of_the_page_is_in_its_body(content: str) -> None:
    """Browsers move it there; libxml2 makes it further roots and bodies."""
    tree = html.parse(content.encode(), max_nodes=100)
    assert [child.tag for child in tree if child.tag != "head"] == ["body"]
    body = tree.find("body")
    assert "".join(body.itertext()) == "onetwothree"
    assert len(body.findall("p")) == 2


def test_two_documents_in_one_file_have_one_head_and_the_first_attributes() -> None:
    first = "<html lang=de><head><title>one</title></head><body>1</body></html>"
    second = "<html lang=en dir=ltr><head><meta name=author content=A></head><body>2</body></html>"
    tree = html.parse((first + second).encode(), max_nodes=100)
    assert dict(tree.attrib) == {"lang": "de", "dir": "ltr"}
    assert [child.tag for child in tree.find("head")] == ["title", "meta"]
    assert tree.find("body").text == "12"


def test_a_page_of_frames_has_no_body() -> None:
    tree = html.parse(b"<html><frameset><frame src=a></frameset><noframes>text</noframes></html>", max_nodes=100)
    assert [child.tag for child in tree] == ["frameset", "noframes"]


@given(st.binary(max_size=400), st.sampled_from([b"", b"<html><body>", b"<table><tr><td", b"<!--", b"<script>"]))
@settings(max_examples=150, deadline=None)
def test_whatever_the_bytes_the_outcome_is_a_tree_or_a_reason(content: bytes, beginning: bytes) -> None:
    try:
        assert html.count_nodes(html.parse(beginning + content, max_nodes=1000)) >= 1
    except Removed as refused:
        rule = refused.rule
        assert rule in {"empty_text", "not_html", "parser_error", "too_many_nodes", "too_deep"}
