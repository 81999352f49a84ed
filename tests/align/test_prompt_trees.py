"""Tests that each answer in a tree has the log-probability that it has alone after its prompt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bessemer.align.preference_trees import in_rows, logprobs_of
from bessemer.align.prompt_trees import PromptTree, answer_lengths, answer_logprobs, lay_out
from bessemer.model.config import ModelShape
from bessemer.model.transformer import Transformer
from bessemer.train.workers import Workers

VOCABULARY = 50


def make_model(**changes: object) -> Transformer:
    shape = ModelShape.model_validate({"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2} | changes)
    model = Transformer(shape.resolve(vocab_size=VOCABULARY, max_seq_length=64))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2, generator=generator)
    return model


MODEL = make_model()
ids = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12).map(lambda numbers: np.array(numbers, np.int64))
forests = st.lists(st.builds(PromptTree, ids, st.tuples(ids, ids)), min_size=1, max_size=6)


@torch.no_grad()
def alone(model: Transformer, prompt: np.ndarray, answer: np.ndarray) -> float:
    """log P(answer | prompt), computed on a separate row."""
    row = torch.from_numpy(np.concatenate((prompt, answer)))[None]
    logits = model(row[:, :-1])[0, len(prompt) - 1 :].log_softmax(-1)
    return float(logits.gather(1, row[0, len(prompt) :, None]).sum())


@torch.no_grad()
def check(model: Transformer, trees: list[PromptTree], capacity: int) -> None:
    batch, rows = lay_out(trees, capacity)
    logprobs, lengths = answer_logprobs(model, batch), answer_lengths(batch)
    assert sorted(number for row in rows for number in row) == list(range(len(trees)))
    for row, numbers in enumerate(rows):
        assert bool((batch["ends"][row, len(numbers) :] == -1).all())
        for slot, number in enumerate(numbers):
            for branch, answer in enumerate(trees[number].answers):
                assert int(batch["tokens"][row, batch["ends"][row, slot, branch]]) == answer[-1]
                assert int(lengths[row, slot, branch]) == len(answer)
                expected = alone(model, trees[number].prompt, answer)
                assert float(logprobs[row, slot, branch]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(forests, st.sampled_from([0, 64, 200]))
def test_an_answer_is_as_likely_as_alone(trees: list[PromptTree], capacity: int) -> None:
    check(MODEL, trees, capacity)


def test_layers_with_a_window_see_along_the_branch() -> None:
    random = np.random.default_rng(0)

    def some() -> np.ndarray:
        return random.integers(0, VOCABULARY, random.integers(5, 12))

    trees = [PromptTree(some(), (some(), some())) for _ in range(5)]
    check(make_model(sliding_window=6, full_attention_interval=2), trees, 100)


@given(forests)
def test_likelihoods_come_back_to_their_trees(trees: list[PromptTree]) -> None:
    found = logprobs_of(MODEL, trees, Workers(0, 1, torch.device("cpu")))
    for number, tree in enumerate(trees):
        for branch, answer in enumerate(tree.answers):
            expected = alone(MODEL, tree.prompt, answer)
            assert float(found[number, branch]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_values_of_trees_are_put_where_the_trees_are() -> None:
    placed = in_rows(torch.tensor([1.0, 2.0, 3.0]), [[2], [1, 0]], 2)
    assert placed.tolist() == [[3.0, 0.0], [2.0, 1.0]]
