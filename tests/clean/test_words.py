"""Words are those of spaCy's English tokenizer, but for the differences that the module names."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.clean.clean_corpus import passages

from bessemer.clean.texts import Texts


def words(text: str) -> list[str]:
    texts = Texts([text])
    return [texts.joined[start:end] for start, end in zip(texts.words.starts, texts.words.ends, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Stop, (now)!", "Stop|,|(|now|)|!"),
        ("don't we'll it's I'm they're 'tis", "do|n't|we|'ll|it|'s|I|'m|they|'re|'|tis"),
        ("e.g. Mr. Smith, U.S. law; J. Doe.", "e.g.|Mr.|Smith|,|U.S.|law|;|J.|Doe|."),
        ("It ended. NASA. Wait... what?!", "It|ended|.|NASA|.|Wait|...|what|?|!"),
        ("well-known, 1990-1995, x--y, -5", "well|-|known|,|1990|-|1995|,|x|--|y|,|-5"),
        ("$5.00 costs 50% of 1,000", "$|5.00|costs|50|%|of|1,000"),
        ("end.Start foo.bar a,b 1,2", "end|.|Start|foo.bar|a|,|b|1,2"),
        ("(https://example.com/a-b:c?d=e).", "(|https://example.com/a-b:c?d=e|)|."),
        ("**bold** _it_ `code` foo_bar f(x)", "*|*|bold|*|*|_|it|_|`|code|`|foo_bar|f(x|)"),
        ("“Yes,” ‘no’ «oui»…", "“|Yes|,|”|‘|no|’|«|oui|»|…"),
        ("a/b and/or 3/4 key:value x=1", "a|/|b|and|/|or|3/4|key|:|value|x=1"),
        ("☃☂ 5°C 👍ok", "☃|☂|5|°|C|👍|ok"),
        ("我们 東京都。", "我们|東京都|。"),
    ],
)
def test_a_text_is_cut_into(text: str, expected: str) -> None:
    assert words(text) == expected.split("|")


def test_spacy_cuts_the_passages_the_same_way_but_for_known_differences() -> None:
    vectors = json.loads(Path(__file__).with_name("datatrove_vectors.json").read_text(encoding="utf-8"))
    different: Counter[str] = Counter()
    total = 0
    for text, expected in zip((t for kind in passages().values() for t in kind), vectors["spacy_words"], strict=True):
        mine = words(text)
        assert "".join(mine) == "".join(expected)
        total += len(expected)
        different.update(Counter(expected) - Counter(mine))
    assert total > 1400
    known = {"and/or": 2, "s.": 1, "help-desk@example.org": 1, "):": 1, "Ph.D.": 1}
    assert different == known
