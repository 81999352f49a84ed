"""Text metrics equal those of their original programs: rouge_score, SQuAD's script, sacrebleu."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.evaluate import text_metrics

VECTORS = json.loads(Path(__file__).with_name("rouge_vectors.json").read_text(encoding="utf-8"))
WORDS = st.lists(st.sampled_from(["the", "a", "cat", "dog", "sat", "ran"]), max_size=8).map(" ".join)


def rouge(answer: str, reference: str) -> list[float]:
    return [
        text_metrics.rouge_n(answer, reference, 1),
        text_metrics.rouge_n(answer, reference, 2),
        text_metrics.rouge_l(answer, reference),
    ]


@pytest.mark.parametrize("vector", VECTORS["pairs"], ids=lambda vector: vector[0][:12])
def test_rouge_is_that_of_rouge_score(vector: list[object]) -> None:
    answer, reference, *expected = vector
    assert rouge(str(answer), str(reference)) == pytest.approx(expected)


def test_rouge_of_a_thousand_summaries_is_that_of_rouge_score(dataset: Callable[[str], Path]) -> None:
    folder = dataset("mt_metrics") / "rouge"
    targets, predictions = (
        (folder / f"{name}_large.txt").read_text(encoding="utf-8").splitlines() for name in ("target", "prediction")
    )
    found = [rouge(prediction, target) for target, prediction in zip(targets, predictions, strict=True)]
    assert [sum(column) / len(found) for column in zip(*found, strict=True)] == pytest.approx(VECTORS["files"])


@given(WORDS, WORDS)
def test_overlap_is_symmetric_and_one_only_for_equal_words(a: str, b: str) -> None:
    for metric in (text_metrics.f1, text_metrics.rouge_l):
        assert metric(a, b) == pytest.approx(metric(b, a))
        assert 0 <= metric(a, b) <= 1
    if a:
        assert text_metrics.rouge_l(a, a) == pytest.approx(1)
    assert (text_metrics.f1(a, b) == 1) == (
        sorted(text_metrics.normalised(a).split()) == sorted(text_metrics.normalised(b).split())
    )


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("The Norman conquest", "norman conquest!", 1.0),
        ("in the late 1990s", "late 1990s", 0.8),  # precision 2 / 3, recall 1
        ("the", "a", 1.0),  # nothing is left of either
        ("the", "cat", 0.0),
    ],
)
def test_f1_counts_words_as_squad_does(answer: str, reference: str, expected: float) -> None:
    assert text_metrics.f1(answer, reference) == pytest.approx(expected)


def test_bleu_and_chrf_take_as_many_references_as_there_are() -> None:
    """A corpus may mix answers with two references and answers with one. One reference counts the same as that
    reference twice."""
    answers = ["the cat sat on the mat today", "a queue holds items until they are taken"]
    several = [["the cat sat on a mat today", "the cat sat on the mat now"], ["a queue holds its items until taken"]]
    padded = [several[0], several[1] * 2]
    assert text_metrics.bleu(answers, several, "13a") == pytest.approx(text_metrics.bleu(answers, padded, "13a"))
    assert text_metrics.chrf(answers, several) == pytest.approx(text_metrics.chrf(answers, padded))
    assert 20 < text_metrics.bleu(answers, several, "13a") < 80
    assert text_metrics.bleu(answers, [[one] for one in answers], "13a") == pytest.approx(100)
