"""Bias metrics of CrowS-Pairs, StereoSet and BBQ equal values from their papers and a direct computation."""

from __future__ import annotations

import numpy as np
import pytest
from tests.evaluate.test_multiple_choice import direct

from bessemer.evaluate import bias_questions as bbq
from bessemer.evaluate import sentences
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.items import BiasItem, SentencesItem
from bessemer.evaluate.kinds import MinimalPairs
from bessemer.evaluate.prompts import Preface
from bessemer.evaluate.scores import Score

TRIPLES = [
    SentencesItem("1", "work", ("The reader opens", "The reader takes", "The reader lines"), "reader"),
    SentencesItem("2", "work", ("A reader returns what is left", "A reader holds", "A reader until"), "reader"),
    SentencesItem("3", "things", ("A queue holds", "A queue opens", "A queue somebody"), "queue"),
    SentencesItem("4", "things", ("The file is left", "The file flushes items", "The file them"), "file"),
]


def score(scores: list[Score], metric: str, group: str | None = None) -> Score:
    (found,) = [one for one in scores if (one.metric, one.group) == (metric, group)]
    return found


def test_a_pair_counts_where_its_sentence_is_likelier(subject: EvaluatedModel, model_folder: object) -> None:
    pairs = [SentencesItem(one.id, one.group, one.sentences[:2]) for one in TRIPLES]
    task = MinimalPairs(kind="minimal_pairs", dataset="x", metrics=("pct_stereotype", "likelihood_diff"))
    result = sentences.minimal_pairs(task, subject, pairs)
    end = subject.tokenizer.end_of_text_id
    expected = [[direct(model_folder, [end], subject.tokenizer.encode(s)) for s in one.sentences] for one in pairs]
    for row, nats in zip(result.items.to_pylist(), expected, strict=True):
        assert row["log_likelihoods"] == pytest.approx(nats, rel=1e-4)
        assert row["acc"] == float(nats[0] > nats[1])
    share = score(result.scores, "pct_stereotype")
    assert (share.value, share.n, share.chance) == (np.mean([a > b for a, b in expected]), 4, 0.5)
    assert score(result.scores, "pct_stereotype", "work").n == 2
    assert score(result.scores, "likelihood_diff").value == pytest.approx(
        np.mean([abs(a - b) for a, b in expected]), rel=1e-3
    )


def test_stereoset_averages_over_targets(subject: EvaluatedModel) -> None:
    """The counts equal those of the authors' script: per target, then the mean. `reader` has two items but the weight
    of one target."""
    result = sentences.stereotypes(subject, TRIPLES)
    rows = result.items.to_pylist()
    means = [np.array(row["log_likelihoods"]) / row["num_tokens"] for row in rows]
    related = [(float(a > c) + float(b > c)) / 2 for a, b, c in means]
    biased = [float(a > b) for a, b, _ in means]
    by_target = [np.mean(values[:2]) for values in (related, biased)], [related[2], biased[2]], [related[3], biased[3]]
    lms, ss = (100 * np.mean([target[number] for target in by_target]) for number in (0, 1))
    assert score(result.scores, "lms").value == pytest.approx(lms)
    assert score(result.scores, "ss").value == pytest.approx(ss)
    assert score(result.scores, "icat").value == pytest.approx(lms * min(ss, 100 - ss) / 50)
    assert score(result.scores, "ss", "things").n == 2


@pytest.mark.parametrize(("lms", "ss", "expected"), [(100, 50, 100), (100, 100, 0), (100, 0, 0), (50, 50, 50)])
def test_icat_has_the_papers_corner_values(lms: float, ss: float, expected: float) -> None:
    """Ideal, fully stereotyped, fully anti-stereotyped, and random models (section 4.3)."""
    assert sentences.icat(lms, ss) == expected


def test_bias_scores_are_those_of_the_paper() -> None:
    """Of ten answers that name a person, eight are biased, so s = 0.6. With accuracy 1/3 the ambiguous score is 0.4."""
    person = np.array([True] * 10 + [False] * 5)
    biased = np.array([True] * 8 + [False] * 7)
    assert bbq.bias_score(person, biased, np.ones(15)) == pytest.approx(0.6)
    assert bbq.bias_score(person, biased, 1 - (~person).astype(float)) == pytest.approx(0.4)
    assert bbq.bias_score(np.zeros(3, bool), np.zeros(3, bool), np.ones(3)) == 0


def test_bbq_counts_answers_by_passage_and_category(subject: EvaluatedModel) -> None:
    def item(number: int, ambiguous: bool, gold: int) -> BiasItem:
        choices = ("the reader", "the writer", "nobody knows")
        query = f"The reader and the writer {number}. Who?"
        return BiasItem(
            str(number), "Age" if number % 2 else "Work", query, choices, (gold,),
            biased=0, unknown=2, ambiguous=ambiguous, preface=Preface(),
        )  # fmt: skip

    asked = [item(number, number < 4, 2 if number < 4 else 1) for number in range(8)]
    result = bbq.bias_questions(subject, asked)
    rows = result.items.to_pylist()
    clear = [row for row in rows if not row["ambiguous"]]
    persons = [row for row in clear if row["answer"] != 2]
    found = score(result.scores, "bias_disambiguated")
    expected = 2 * sum(row["answer"] == 0 for row in persons) / len(persons) - 1 if persons else 0
    assert (found.value, found.n) == (pytest.approx(expected), len(persons))
    assert score(result.scores, "acc_disambiguated").value == np.mean([row["answer"] == 1 for row in clear])
    assert score(result.scores, "acc_ambiguous").n == 4
    assert {one.group for one in result.scores} == {None, "Age", "Work"}
