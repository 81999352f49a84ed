"""Tests that terms are explained where they appear, and that the glossary lists these terms."""

from __future__ import annotations

from markupsafe import Markup

from bessemer.report.glossary import meaning_of, meaning_of_rule, term, used


def test_a_term_has_its_meaning_and_another_word_has_none() -> None:
    assert term("chance") == '<abbr title="Score of random guessing.">chance</abbr>'
    assert term("<b>") == "&lt;b&gt;"
    assert meaning_of("train/grad_norm") == "Euclidean norm of the gradient before it is clipped."
    assert meaning_of("validation/loss").startswith("Loss on held-out rows")
    assert meaning_of("acc_norm").startswith("Like `acc`")
    assert meaning_of("a setting") == ""


def test_verdicts_are_explained() -> None:
    assert meaning_of_rule("crawl", "out_of_scope") == "On a host that is not part of the crawl."
    assert meaning_of_rule("clean", "gopher_quality/words").startswith("Minimum number of words")
    assert "Maximum number of words" in meaning_of_rule("clean", "gopher_quality/words")
    assert meaning_of_rule("pairs", "no_reward") == "No reward gave an answer a number."
    assert meaning_of_rule("clean", "function/mine") == meaning_of_rule("docsite", "x") == ""


def test_the_glossary_lists_the_terms_of_the_page_as_plain_text() -> None:
    sections = [term("p"), Markup("<p>{}</p>").format(term("a & b", 'says "x" < y')), term("p")]
    assert used(sections) == [("a & b", 'says "x" < y'), ("p", meaning_of("p"))]
    assert used([Markup("{}").format('<abbr title="x">y</abbr>')]) == [], "text of a document is not a term"
