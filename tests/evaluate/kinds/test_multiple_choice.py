"""Accuracies of multiple choice equal those of lm-evaluation-harness."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluate.direct_likelihood import direct

from bessemer.evaluate.choices import ChoiceItem
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice, score_items
from bessemer.evaluate.prompts import Preface

QUESTIONS = [
    ChoiceItem(str(number), None, query, choices, (gold,), preface=Preface(target_delimiter=" "))
    for number, (query, choices, gold) in enumerate(
        [
            ("The reader opens", ("a file", "a queue", "the"), 0),
            ("The writer\n\n", ("closes the file and", "x", "日本", "takes them away"), 3),
            ("", ("one line", "line one"), 1),
            ("A queue holds items until somebody takes them. " * 3, ("items", "until"), 0),
            ("clo", ("ses", "se"), 1),
        ],
        start=1,
    )
]
TASK = MultipleChoice(kind="multiple_choice", target_delimiter=" ")


def test_accuracies_are_those_of_lm_evaluation_harness(model_folder: Path, subject: EvaluatedModel) -> None:
    """The formulas of the harness's `ConfigurableTask.process_results` and `_encode_pair`, for single requests."""
    encode = subject.tokenizer.encode

    def request(context: str, continuation: str) -> float:
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        whole, known = encode(context + continuation), encode(context)
        known = [subject.tokenizer.end_of_text_id] if not context else known
        target = whole if not context else whole[len(known) :]
        known = known[-(24 + 1 - max(len(target), 1)) :]
        return direct(model_folder, known, target)

    result = score_items(TASK, subject, QUESTIONS)
    expected: dict[str, list[float]] = {"acc": [], "acc_norm": [], "acc_mutual_info": []}
    for question, row in zip(QUESTIONS[:4], result.items.to_pylist(), strict=False):
        found = np.array([request(question.query, f" {choice}") for choice in question.choices])
        alone = np.array([request("", f" {choice}") for choice in question.choices])
        assert row["log_likelihoods"] == pytest.approx(found.tolist(), rel=1e-4)
        assert row["log_likelihoods_alone"] == pytest.approx(alone.tolist(), rel=1e-4)
        lengths = np.array([float(len(choice)) for choice in question.choices])
        expected["acc"].append(float(np.argmax(found) == question.gold[0]))
        expected["acc_norm"].append(float(np.argmax(found / lengths) == question.gold[0]))
        expected["acc_mutual_info"].append(float(np.argmax(found - alone) == question.gold[0]))
    for metric, values in expected.items():
        assert result.items[metric].to_pylist()[:4] == values
    assert result.items["context_was_cut"].to_pylist() == [False, False, False, True, False]


def test_scores_have_error_count_and_chance(subject: EvaluatedModel) -> None:
    result = score_items(TASK, subject, QUESTIONS)
    accuracies = [score for score in result.scores if score.metric.startswith("acc") and score.group is None]
    assert [score.metric for score in accuracies] == ["acc", "acc_norm", "acc_mutual_info"]
    for score in accuracies:
        right = result.items[score.metric].to_numpy()
        share = right.mean()
        assert (score.value, score.n) == (share, 5)
        assert score.standard_error == pytest.approx(math.sqrt(share * (1 - share) / 4))
        assert score.chance == pytest.approx((1 / 3 + 1 / 4 + 3 / 2) / 5)


def test_mutual_information_costs_its_pass_only_where_it_is_asked_for(subject: EvaluatedModel) -> None:
    task = TASK.model_copy(update={"metrics": ("acc",)})
    result = score_items(task, subject, QUESTIONS)
    assert result.items["log_likelihoods_alone"].null_count == len(QUESTIONS)
    assert "acc_mutual_info" not in {score.metric for score in result.scores}


def test_several_right_choices_share_their_probability(subject: EvaluatedModel) -> None:
    items = [replace(item, gold=(0, 1)) for item in QUESTIONS]
    rows = score_items(TASK, subject, items).items.to_pylist()
    for row in rows:
        shares = np.exp(row["log_likelihoods"]) / np.exp(row["log_likelihoods"]).sum()
        assert row["mc2"] == pytest.approx(shares[:2].sum())
        assert row["acc"] == float(np.argmax(shares) < 2)


def test_a_passage_is_worth_what_it_adds(subject: EvaluatedModel) -> None:
    """The item without its passage is asked like any other item. The gain is the difference, item by item."""
    task = TASK.model_copy(update={"query_without_passage": "unused"})
    items = [replace(item, query_without_passage="The reader") for item in QUESTIONS]
    result = score_items(task, subject, items)
    plain = score_items(TASK, subject, [replace(item, query="The reader") for item in QUESTIONS])
    assert result.items["acc_without_passage"].to_pylist() == plain.items["acc"].to_pylist()
    gain = result.items["acc"].to_numpy() - result.items["acc_without_passage"].to_numpy()
    assert result.items["acc_gain"].to_pylist() == gain.tolist()
