"""Languages are found offline, and as well as by reading all of a raw text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.clean.clean_corpus import passages

from bessemer.clean.language import LANGUAGES, Language, _model, identify, sample
from bessemer.clean.texts import Texts


def test_passages_are_in_their_languages() -> None:
    foreign = [identify(sample(text, 600))[0] for text in passages()["foreign"]]
    assert foreign == ["de", "fr", "ru", "ja", "zh", "ar", "hi"]
    assert {identify(sample(text, 600))[0] for text in passages()["prose"]} == {"en"}


def test_the_rule_removes_other_languages_and_unsure_ones() -> None:
    texts = Texts([passages()["prose"][0], passages()["foreign"][0], "12 34", ""])
    found = Language().apply(texts)
    assert found.languages == {0: "en", 1: "de"}
    wanted, probable = Language().broken(found.signals, texts.languages)
    assert wanted.texts.tolist() == [False, True, True, True]
    assert probable.texts.tolist() == [False, False, True, True]
    anything = Language(languages=None, min_language_probability=None)
    assert not any(limit.texts.any() for limit in anything.broken(anything.apply(texts).signals, texts.languages))


def test_line_ends_and_markup_make_no_difference() -> None:
    text = "Nobody in the house had slept well"
    assert sample(text.replace(" ", "\n<br/> foo.bar() a_b 12.5 \x00\r\n"), 600).split() == text.lower().split()
    assert identify(sample("</s>\n" + text.upper(), 600))[0] == "en"


def test_every_code_of_the_model_is_known() -> None:
    texts = ["the", "не", "और", "的", "و", "ה", "και", "ของ", "არ", "ու", "ни", "lo", "og", "is"]
    labels = {label for text in texts for _, label in _model().f.predict(text + "\n", -1, 0.0, "strict")}
    assert len(labels) > 150
    assert {label.removeprefix("__label__") for label in labels} <= LANGUAGES
    assert len(LANGUAGES) == 176


@pytest.mark.parametrize("wrong", ["eng", "english", "EN", "xx"])
def test_a_code_that_cannot_be_found_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="languages that can be identified"):
        Language(languages=("en", wrong))


def test_sentences_of_75_languages(dataset: Callable[[str], Path]) -> None:
    """lingua-py's news sentences; the raw text of each gives 0.893."""
    right = total = false_english = 0
    for path in sorted((dataset("langid") / "lingua_sentences").glob("*.txt")):
        language = {"nb": "no"}.get(path.stem, path.stem)
        if language not in LANGUAGES:
            continue
        for line in path.read_text(encoding="utf-8").splitlines()[:40]:
            found, probability = identify(sample(line, 600))
            right += found == language
            false_english += language != "en" and found == "en" and probability >= 0.65
            total += 1
    assert total > 2500
    assert right / total > 0.88
    assert false_english / total < 0.002
