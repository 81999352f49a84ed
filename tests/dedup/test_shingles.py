"""Shingle sets are those of a plain implementation, and their Jaccard similarity is that of Python's sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.dedup import shingles
from bessemer.dedup.shingles import ShingleSets, jaccard, shingle_sets, similarity
from bessemer.dedup.words import find_words, hash_words

texts = st.lists(st.sampled_from(["a", "b", "c", "7", "-"]), max_size=30).map(" ".join)


def folded_sets(batch: list[str], ngram_size: int) -> ShingleSets:
    return shingle_sets(find_words(batch).folded(), ngram_size)


def plain_shingles(text: str, ngram_size: int) -> set[tuple[int, ...]]:
    words = hash_words([text])[0].tolist()
    if len(words) <= ngram_size:
        return {tuple(words)} - {()}
    return {tuple(words[i : i + ngram_size]) for i in range(len(words) - ngram_size + 1)}


@settings(deadline=None)
@given(st.lists(texts, max_size=8), st.integers(1, 6))
def test_sets_are_those_of_a_plain_loop(batch: list[str], ngram_size: int) -> None:
    """Sizes and all pairwise similarities agree, so no shingle spans two texts and none is lost."""
    sets = folded_sets(batch, ngram_size)
    expected = [plain_shingles(text, ngram_size) for text in batch]
    assert sets.sizes.tolist() == [len(found) for found in expected]
    for i, first in enumerate(expected):
        assert (np.diff(sets[i].astype(object)) > 0).all(), "ascending and distinct"
        for j, second in enumerate(expected):
            union = len(first | second)
            assert jaccard(sets[i], sets[j]) == (len(first & second) / union if union else 0.0)


def test_a_short_text_resembles_only_the_same_words() -> None:
    sets = folded_sets(["one two", "One, two!", "one two three", "two one", "one", "7", "7 7", "one 7", "", "?"], 5)
    same = [(i, j) for i in range(len(sets)) for j in range(i) if jaccard(sets[i], sets[j]) > 0]
    assert same == [(1, 0)]
    assert sets.sizes.tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("ngram_size", [1, 5])
def test_a_batch_is_its_texts_one_by_one(ngram_size: int) -> None:
    batch = ["the cat sat on the mat and the cat sat on the hat", "", "猫が好きです。", "a b c d"] * 2
    sets = folded_sets(batch, ngram_size)
    for index, text in enumerate(batch):
        assert sets[index].tolist() == folded_sets([text], ngram_size)[0].tolist()


def test_numbers_count_if_more_than_a_tenth_rests_on_them() -> None:
    assert similarity(0.82, 0.79) == 0.82
    assert similarity(1.0, 0.9) == 1.0
    assert similarity(1.0, 0.89) == 0.89
    assert similarity(1.0, 0.0) == 0.0


def test_sets_with_numbers() -> None:
    texts = ["12 plus 3 is 15 today", "7 plus 8 is 15 today"]
    words = find_words(texts)
    folded, kept = (shingle_sets(found, 2) for found in (words.folded(), words))
    assert jaccard(folded[0], folded[1]) == 1.0
    assert jaccard(kept[0], kept[1]) == 2 / 8


def test_shingles_are_the_same_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = ["the cat sat on the mat and the cat sat on the hat", "a b c d", "one two three four five six"]
    expected = folded_sets(batch, 3)
    for block in (1, 2, 7):
        monkeypatch.setattr(shingles, "_BLOCK", block)
        assert folded_sets(batch, 3).values.tolist() == expected.values.tolist()


def test_golden_shingles() -> None:
    """Shingles decide the stage's output: other values need a new version of the stage `dedup`."""
    assert [f"{value:016x}" for value in folded_sets(["a rose is a rose is a rose"], 5).values] == [
        "a11ee536a75f0c56",
        "a9c068d67ee356ee",
        "e827059c444c5730",
    ]
