"""Counting repetition by sorting hashes gives what counting strings one by one gives."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.clean.repetition import GopherRepetition
from bessemer.clean.texts import Texts

WORD = st.sampled_from(["a", "b", "cc", "the", "ddd", "."])
TEXT = st.lists(st.tuples(WORD, st.sampled_from([" ", " ", " ", "\n", "\n\n"])), max_size=60).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)


def top(words: list[str], n: int) -> int:
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    (gram, count), *_ = Counter(grams).most_common(1)
    return len(" ".join(gram)) * count


def copied(words: list[str], n: int) -> int:
    met: set[tuple[str, ...]] = set()
    characters = place = 0
    while place <= len(words) - n:
        gram = tuple(words[place : place + n])
        if gram in met:
            characters += sum(map(len, gram))
            place += n
        else:
            met.add(gram)
            place += 1
    return characters


@settings(deadline=None)
@given(st.lists(TEXT, max_size=4))
def test_n_grams(batch: list[str]) -> None:
    texts = Texts(batch)
    found = GopherRepetition().apply(texts).signals
    owners = texts.words.owners.tolist()
    places = list(zip(texts.words.starts.tolist(), texts.words.ends.tolist(), strict=True))
    for index, text in enumerate(batch):
        words = [texts.joined[a:b] for owner, (a, b) in zip(owners, places, strict=True) if owner == index]
        for n in range(2, 11):
            name = f"top_{n}_gram" if n <= 4 else f"duplicate_{n}_gram"
            expected = (top(words, n) if n <= 4 else copied(words, n)) / max(1, len(text))
            assert abs(found[f"{name}_character_ratio"][index] - expected) < 1e-12


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["", "x", "yy"]), max_size=8).map("\n".join), max_size=4))
def test_lines(batch: list[str]) -> None:
    import re

    found = GopherRepetition().apply(Texts(batch)).signals
    for index, text in enumerate(batch):
        lines = re.split("\n+", text) if text else []
        expected = (len(lines) - len(set(lines))) / max(1, len(lines))
        assert found["duplicate_line_ratio"][index] == expected
