"""Log-likelihoods equal a direct computation with `transformers`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.evaluate.direct_likelihood import direct, stock_model

from bessemer.evaluate import likelihood
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.likelihood import ContinuationTree, log_likelihoods


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
