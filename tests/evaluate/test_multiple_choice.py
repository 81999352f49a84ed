"""Log-likelihoods equal a direct computation with `transformers`. Accuracies equal those of lm-evaluation-harness."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from bessemer.evaluate import likelihood
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.items import ChoiceItem
from bessemer.evaluate.kinds import MultipleChoice
from bessemer.evaluate.likelihood import ContinuationTree, log_likelihoods
from bessemer.evaluate.multiple_choice import multiple_choice
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


@cache
def stock_model(folder: Path) -> torch.nn.Module:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def direct(folder: Path, context: list[int], continuation: list[int]) -> float:
    """log P(continuation | context), computed for one row without batch, mask or cache."""
    tokens = torch.tensor([context + continuation])
    with torch.no_grad():
        logs = torch.log_softmax(stock_model(folder)(tokens).logits[0].double(), -1)
    places = range(len(context), tokens.shape[1])
    return sum(float(logs[place - 1, tokens[0, place]]) for place in places)


@pytest.mark.parametrize("batch", [1, 40, 8192], ids=["one tree a batch", "small batches", "one batch"])
def test_a_tree_gives_the_likelihoods_of_separate_rows(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, subject: EvaluatedModel, batch: int
) -> None:
    monkeypatch.setattr(likelihood, "BATCH_TOKENS", batch)
    trees = [
        ContinuationTree([5, 9, 40], [[7], [8, 11, 30, 2], [9, 9]]),
        ContinuationTree([17], [[3, 4], [3]]),
        ContinuationTree(list(range(20, 32)), [[1, 2, 3], [60, 61], [1], [1, 2]]),
    ]
    for tree, values in zip(trees, log_likelihoods(subject, trees), strict=True):
        expected = [direct(model_folder, tree.context, c) for c in tree.continuations]
        assert values.nats == pytest.approx(expected, rel=1e-4)


def test_a_long_context_loses_its_beginning_and_a_long_choice_is_read_in_windows(
    model_folder: Path, subject: EvaluatedModel
) -> None:
    """The context of each branch is cut to fit that branch, as in lm-evaluation-harness. A choice is never cut."""
    context, choices = list(range(10, 50)), [[3], [4, 5, 6], [number % 300 for number in range(60)]]
    (found,) = log_likelihoods(subject, [ContinuationTree(context, choices)])
    expected = [direct(model_folder, context[-(24 + 1 - len(c)) :], c) for c in choices[:2]]
    last = choices[2]
    windows = [([49], last[:24]), ([last[23]], last[24:48]), ([last[47]], last[48:])]
    expected.append(sum(direct(model_folder, before, window) for before, window in windows))
    assert found.nats == pytest.approx(expected, rel=1e-4)
    assert found.num_tokens.tolist() == [1, 3, 60]
    assert not found.greedy[2]


def test_greedy_is_what_the_model_would_write(model_folder: Path, subject: EvaluatedModel) -> None:
    context = [5, 9, 40]
    with torch.no_grad():
        written = (
            stock_model(model_folder)
            .generate(torch.tensor([context]), max_new_tokens=3, do_sample=False, eos_token_id=None, pad_token_id=0)[
                0, 3:
            ]
            .tolist()
        )
    other = [*written[:2], (written[2] + 1) % 300]
    (found,) = log_likelihoods(subject, [ContinuationTree(context, [written, other, written[:1]])])
    assert found.greedy.tolist() == [True, False, True]


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

    result = multiple_choice(TASK, subject, QUESTIONS)
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
    result = multiple_choice(TASK, subject, QUESTIONS)
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
    result = multiple_choice(task, subject, QUESTIONS)
    assert result.items["log_likelihoods_alone"].null_count == len(QUESTIONS)
    assert "acc_mutual_info" not in {score.metric for score in result.scores}


def test_several_right_choices_share_their_probability(subject: EvaluatedModel) -> None:
    items = [replace(item, gold=(0, 1)) for item in QUESTIONS]
    rows = multiple_choice(TASK, subject, items).items.to_pylist()
    for row in rows:
        shares = np.exp(row["log_likelihoods"]) / np.exp(row["log_likelihoods"]).sum()
        assert row["mc2"] == pytest.approx(shares[:2].sum())
        assert row["acc"] == float(np.argmax(shares) < 2)


def test_a_passage_is_worth_what_it_adds(subject: EvaluatedModel) -> None:
    """The item without its passage is asked like any other item. The gain is the difference, item by item."""
    task = TASK.model_copy(update={"query_without_passage": "unused"})
    items = [replace(item, query_without_passage="The reader") for item in QUESTIONS]
    result = multiple_choice(task, subject, items)
    plain = multiple_choice(TASK, subject, [replace(item, query="The reader") for item in QUESTIONS])
    assert result.items["acc_without_passage"].to_pylist() == plain.items["acc"].to_pylist()
    gain = result.items["acc"].to_numpy() - result.items["acc_without_passage"].to_numpy()
    assert result.items["acc_gain"].to_pylist() == gain.tolist()
