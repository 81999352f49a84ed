"""BBQ's bias scores equal values from the paper and a direct computation."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.bias_questions import BiasItem, bias_score, score_items
from bessemer.evaluate.prompts import Preface
from bessemer.evaluate.scores import Score


def score(scores: list[Score], metric: str, group: str | None = None) -> Score:
    (found,) = [one for one in scores if (one.metric, one.group) == (metric, group)]
    return found


def test_bias_scores_are_those_of_the_paper() -> None:
    """Of ten answers that name a person, eight are biased, so s = 0.6. With accuracy 1/3 the ambiguous score is 0.4."""
    person = np.array([True] * 10 + [False] * 5)
    biased = np.array([True] * 8 + [False] * 7)
    assert bias_score(person, biased, np.ones(15)) == pytest.approx(0.6)
    assert bias_score(person, biased, 1 - (~person).astype(float)) == pytest.approx(0.4)
    assert bias_score(np.zeros(3, bool), np.zeros(3, bool), np.ones(3)) == 0


def test_bbq_counts_answers_by_passage_and_category(subject: EvaluatedModel) -> None:
    def item(number: int, ambiguous: bool, gold: int) -> BiasItem:
        choices = ("the reader", "the writer", "nobody knows")
        query = f"The reader and the writer {number}. Who?"
        return BiasItem(
            str(number), "Age" if number % 2 else "Work", query, choices, (gold,),
            biased=0, unknown=2, ambiguous=ambiguous, preface=Preface(),
        )  # fmt: skip

    asked = [item(number, number < 4, 2 if number < 4 else 1) for number in range(8)]
    result = score_items(subject, asked)
    rows = result.items.to_pylist()
    clear = [row for row in rows if not row["ambiguous"]]
    persons = [row for row in clear if row["answer"] != 2]
    found = score(result.scores, "bias_disambiguated")
    expected = 2 * sum(row["answer"] == 0 for row in persons) / len(persons) - 1 if persons else 0
    assert (found.value, found.n) == (pytest.approx(expected), len(persons))
    assert score(result.scores, "acc_disambiguated").value == np.mean([row["answer"] == 1 for row in clear])
    assert score(result.scores, "acc_ambiguous").n == 4
    assert {one.group for one in result.scores} == {None, "Age", "Work"}
