"""C4 removes lines; the lines that stay keep their indentation and their paragraphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bessemer.clean.c4 import C4
from bessemer.clean.fineweb import FineWebQuality
from bessemer.clean.texts import Texts

ONE, TWO, THREE = "This is one line.", "    This line is indented.", "Here is a third line."
GERMAN = "Das ist ein Satz.\n\nMenü\n\nUnd noch ein Satz."


def left(text: str, language: str | None = "en", **settings: Any) -> str:
    found = C4(terminal_punctuation=False, **settings).apply(Texts([text], [language]))
    return (found.texts or Texts([text])).strings[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ONE}\n{TWO}", None),
        (f"{ONE}\n\n{TWO}\n\n\n{THREE}\n", None),
        (f"\n\n{ONE}  \n\t{THREE}\r\n", None),
        (f"{ONE}\n\nmenu\n\n{TWO}", f"{ONE}\n\n{TWO}"),
        (f"{ONE}\nmenu\n{TWO}", f"{ONE}\n{TWO}"),
        (f"{ONE}\nmenu\n\n{TWO}", f"{ONE}\n\n{TWO}"),
        (f"{ONE}\n\n\nmenu\n \n{TWO}", f"{ONE}\n\n\n{TWO}"),
        (f"menu\n\n{TWO}\n\nmenu\n\n", TWO),
        (f"{ONE}\n\n  See [12] here now.\n{THREE}", f"{ONE}\n\n  See  here now.\n{THREE}"),
        (f"  [12] See here now. [3]\n{ONE}", f"  See here now.\n{ONE}"),
        (f"{ONE}\n\n[1] [2] [3]\n\n{THREE}", f"{ONE}\n\n{THREE}"),
        ("menu", ""),
        ("[1] [2] [3]", ""),
        ("", None),
        ("\n \n", None),
    ],
)
def test_what_stays_keeps_its_paragraphs_and_its_indentation(text: str, expected: str | None) -> None:
    assert left(text) == (text if expected is None else expected)


def test_a_text_that_loses_nothing_stays_as_it_is_next_to_one_that_does() -> None:
    untouched = f"\n{ONE}\n\n\n{TWO}\n\n"
    found = C4(terminal_punctuation=False).apply(Texts([untouched, f"menu\n\n{ONE}\n\n\n", untouched]))
    assert found.texts is not None
    assert found.texts.strings == [untouched, ONE, untouched]
    assert found.evidence == {1: "1 lines dropped"}


def test_later_rules_count_line_feeds_as_if_blank_lines_were_dropped() -> None:
    texts = Texts([f"{ONE}\n\n\n{TWO}", f"{ONE}\n\nmenu\n\n{TWO}", GERMAN, "menu"], ["en", "en", "de", "en"])
    found = C4(terminal_punctuation=False).apply(texts).texts
    assert found is not None
    assert found.num_newlines.tolist() == [1, 1, 4, 0]
    ratios = FineWebQuality().apply(found).signals["newlines_per_word"]
    assert ratios[:2].tolist() == [1 / 10, 1 / 10]
    assert texts.num_newlines.tolist() == [3, 4, 4, 0]


def test_texts_in_other_languages_stay_unless_they_are_named() -> None:
    assert left(GERMAN, "de") == GERMAN
    assert left(GERMAN, "de", languages=("en", "de")) == "Das ist ein Satz.\n\nUnd noch ein Satz."
    assert left(GERMAN, "de", languages=None) == left(GERMAN, None) == left(GERMAN, "en")
    found = C4().apply(Texts([GERMAN, GERMAN], ["de", "en"])).signals
    assert all(np.isnan(values[0]) and not np.isnan(values[1]) for values in found.values())


def test_words_and_ends_of_lines_are_those_of_the_language() -> None:
    text = "我们在学校学习中文。\n菜单\n他说：「今天很好。」\n没有结尾的行在这里"
    found = C4(languages=("zh",), min_sentences=None).apply(Texts([text], ["zh-Hans"]))
    assert found.texts is not None
    assert found.texts.strings == ["我们在学校学习中文。\n他说：「今天很好。」"]


def test_the_plan_says_which_languages_stay_as_they_are() -> None:
    assert C4().abstentions({"en"}) == []
    assert C4(languages=None).abstentions({"de"}) == []
    (sentence,) = C4(languages=("en", "de")).abstentions({"en", "de", "fr"})
    assert sentence.startswith("`c4` does not apply to texts in `fr`")
