"""Tests that every kind of docstring becomes HTML that reads well after extraction."""

from __future__ import annotations

import re
import textwrap
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bessemer.docsite.docstring import readme_to_html, summary_of, to_html

PIECES = (
    *(
        "",
        "word",
        "Two words.",
        "    indented",
        "        more",
        ">>> f(x)",
        "1",
        "- item",
        "* item",
        "1. item",
        "|a|b|",
    ),
    *("Parameters", "----------", "=====", "Args:", "x : int", "    x (int): what", ".. note::", ".. math::", "::"),
    *(
        "text::",
        "===  ===",
        "a    b",
        "+--+--+",
        ":param x: what",
        "```python",
        "```",
        "!!! note",
        "# Title",
        "Returns:",
    ),
    *("``code", "`x`", "<b>&amp;", "*", "**kwargs", "\t tab", "..", ".. [1] A book.", "   ", "==", "a  b"),
)
MARKUP = st.lists(st.sampled_from(PIECES), max_size=25)


def html(doc: str) -> str:
    return to_html(textwrap.dedent(doc).strip())


@given(MARKUP)
def test_any_sequence_of_lines_is_rendered_with_balanced_and_known_tags(lines: list[str]) -> None:
    found = to_html("\n".join(lines))
    tags = re.findall(r"<(/?)(\w+)[^<>]*>", found)
    open_tags: list[str] = []
    for closing, name in tags:
        assert name in {"p", "ul", "li", "pre", "code", "strong", "em", "h3", "div", "a", "table", "tr", "td"}
        if closing:
            assert open_tags.pop() == name
        else:
            open_tags.append(name)
    assert not open_tags


@given(st.text(alphabet="ab <>&\"'`*_:.[]()\\\n|=-", max_size=80))
def test_what_a_docstring_says_never_becomes_a_tag_of_its_own(text: str) -> None:
    rest = re.sub(r"</?(p|ul|li|pre|code|strong|em|h3|div|table|tr|td)( class=\"note\")?>", "", to_html(text))
    assert "<" not in rest
    assert not re.search(r"&(?!amp;|lt;|gt;|quot;|#x27;)", rest)


@given(MARKUP)
@example(["word", "   "])
@example(["::", "   "])
def test_the_summary_begins_the_page_text(lines: list[str]) -> None:
    summary = summary_of("\n".join(lines))
    if summary:
        first = re.match(r"<p>(.*?)</p>", to_html("\n".join(lines)))
        assert first is not None
        assert unescape(re.sub(r"<[^<>]*>", "", first[1])).startswith(summary)


@pytest.mark.parametrize(
    ("doc", "summary"),
    [
        ("Return the mean. It is fast.", "Return the mean."),
        ("Return the mean,\nor nothing.\n\nMore.", "Return the mean, or nothing."),
        ("Draw, e.g. a Circle. Then stop.", "Draw, e.g. a Circle."),
        ("Return ``x`` as :class:`~pkg.mod.Thing` of *data*.", "Return x as Thing of data."),
        ("No full stop here\n\nMore.", "No full stop here"),
        (">>> f()\n1", ""),
        ("Parameters\n----------\nx : int", ""),
        ("", ""),
    ],
)
def test_the_summary_is_the_first_sentence_as_plain_text(doc: str, summary: str) -> None:
    assert summary_of(doc) == summary


def test_numpydoc_sections_become_lists() -> None:
    found = html(
        """
        Sum the elements.

        Parameters
        ----------
        a : array_like
            Elements to sum,
            all of them.
        axis : int, optional
            The axis.

        See Also
        --------
        mean : The arithmetic
               mean.
        """
    )
    assert "<h3>Parameters</h3>" in found
    assert "<li><strong>a</strong> (array_like): Elements to sum, all of them.</li>" in found
    assert "<li><strong>axis</strong> (int, optional): The axis.</li>" in found
    assert "<li><strong>mean</strong>: The arithmetic mean.</li>" in found


def test_google_sections_and_field_lists_become_lists() -> None:
    found = html(
        """
        Track progress.

        Args:
            sequence (Iterable[T]): Values to iterate over,
                one by one.
            total: How many.

        Returns:
            Iterable: The values.
        """
    )
    assert "<li><strong>sequence</strong> (Iterable[T]): Values to iterate over, one by one.</li>" in found
    assert "<li><strong>total</strong>: How many.</li>" in found
    fields = html(":param int port: Where to listen.\n:type host: str\n:returns: A socket.")
    assert "<li><strong>port</strong>: Where to listen.</li>" in fields
    assert "<li><strong>Returns</strong>: A socket.</li>" in fields
    assert fields.count("<li>") == 2


def test_a_line_that_begins_with_a_role_is_text_and_no_field() -> None:
    assert html("If ``mat1`` is a\n:math:`n` tensor, then\n:attr:`input` is one.") == (
        "<p>If <code>mat1</code> is a <code>n</code> tensor, then <code>input</code> is one.</p>"
    )


def test_examples_keep_their_lines_and_lose_doctest_options() -> None:
    found = html(
        """
        Show it.

        >>> f(1)  # doctest: +SKIP
        [1,
         2]

        >>> g()
        3

        As code::

            for x in y:
                print(x)
        """
    )
    assert "<pre><code>&gt;&gt;&gt; f(1)\n[1,\n 2]\n\n&gt;&gt;&gt; g()\n3</code></pre>" in found
    assert "<p>As code:</p>\n<pre><code>for x in y:\n    print(x)</code></pre>" in found


def test_what_only_a_typesetter_reads_is_left_out() -> None:
    found = html(
        """
        Text before.

        .. math:: x = \\frac{1}{2}

        .. plot::

           draw()

        .. _label:

        Text after [1]_ with `a link <https://example.org/>`_.

        .. versionadded:: 3.8
        """
    )
    assert "frac" not in found
    assert "draw" not in found
    assert 'Text after with <a href="https://example.org/">a link</a>.' in found
    assert "<em>New in version 3.8.</em>" in found


def test_a_simple_table_becomes_a_table() -> None:
    found = html(
        """
        ======  =====
        Name    Means
        ======  =====
        mean    average
                value
        median  middle
        ======  =====
        """
    )
    assert "<tr><td>mean</td><td>average value</td></tr>" in found
    assert "==" not in found


def test_a_readme_loses_badges_comments_and_raw_html() -> None:
    found = readme_to_html(
        "# Tool\n\n<p align='center'><img src='x.png'></p>\n<!-- hidden -->\n"
        "[![Build](https://example.org/b.svg)](https://example.org/)\n\nUse the [guide](https://example.org/g).\n\n"
        "```python\nimport tool\n```\n"
    )
    assert "<h3>Tool</h3>" in found
    assert '<p>Use the <a href="https://example.org/g">guide</a>.</p>' in found
    assert "<pre><code>import tool</code></pre>" in found
    assert "svg" not in found
    assert "hidden" not in found
    assert "align" not in found
