"""Tests the losses over pairs, and KTO's estimate of the KL divergence, which uses mismatched answers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from bessemer.align import preference_objectives
from bessemer.align.preference_losses import AnswerPairs
from bessemer.align.preference_objectives import KtoObjective, PairObjective
from bessemer.align.preference_trees import PreferenceTrees
from bessemer.align.prompt_trees import PromptTree
from bessemer.align.settings import Kto, PairMethod
from bessemer.model.config import ModelShape
from bessemer.model.transformer import Transformer
from bessemer.train.objectives.base import Loss
from bessemer.train.sampler import Rows
from bessemer.train.workers import Workers

ALONE = Workers(0, 1, torch.device("cpu"))
COUNT = 6


def tree(number: int) -> PromptTree:
    random = np.random.default_rng(number)
    return PromptTree(random.integers(0, 100, 3 + number % 3), (random.integers(0, 100, 2 + number % 4),))


def model_of(seed: int) -> Transformer:
    shape = ModelShape(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=16)
    model = Transformer(shape.resolve(vocab_size=100, max_seq_length=32))
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2, generator=generator)
    return model


@torch.no_grad()
def logprob(model: Transformer, prompt: Tensor, answer: Tensor) -> float:
    """log P(answer | prompt) by a plain forward pass."""
    logits = model(torch.cat((prompt, answer))[None])[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, answer[:, None]).sum().item()


@pytest.fixture
def kto(monkeypatch: pytest.MonkeyPatch) -> KtoObjective:
    """An objective whose reference is `model_of(1)` and whose model has the weights of `model_of(2)`."""

    def read(parts: list[Path], split: str) -> PreferenceTrees:
        numbers = range(COUNT if split == "tune" else 0)
        return PreferenceTrees(
            [f"item {n}" for n in numbers], [tree(n) for n in numbers], np.array([n % 2 == 0 for n in numbers])
        )

    monkeypatch.setattr(preference_objectives, "read_labelled_answers", read)
    model = model_of(1)
    made = KtoObjective([], Kto(), model, ALONE, seed=3)
    model.load_state_dict(model_of(2).state_dict())
    return made


def test_each_prompt_gets_the_answer_to_another(kto: KtoObjective) -> None:
    answers = {tuple(tree(n).answers[0].tolist()): n for n in range(COUNT)}
    given = [answers[tuple(crossed.answers[0].tolist())] for crossed in kto._crossed]
    assert all((crossed.prompt == tree(n).prompt).all() for n, crossed in enumerate(kto._crossed))
    assert all(number != own for own, number in enumerate(given))
    assert sorted(given) == list(range(COUNT))


def test_the_distance_is_the_mean_over_crossed_answers(kto: KtoObjective) -> None:
    """The mean is over the rows of the batch and is clipped at 0."""
    numbers = [[0, 1], [2, 3], [4, 5], [0, 3, 5]]
    distances = []
    for chosen in numbers:
        trees = [kto._crossed[n] for n in chosen]
        pairs = [(torch.from_numpy(one.prompt), torch.from_numpy(one.answers[0])) for one in trees]
        expected = np.mean([logprob(model_of(2), *pair) - logprob(model_of(1), *pair) for pair in pairs])
        batch = kto.batch(1, Rows(np.zeros(len(chosen), int), np.array(chosen)))
        assert batch["kl"].tolist() == pytest.approx([max(0.0, expected)] * len(batch["tokens"]), abs=1e-4)
        distances.append(expected)
    assert max(distances) > 0.1, "a distance of 0 would not show which answers it uses"


def test_the_distance_is_part_of_the_loss(kto: KtoObjective) -> None:
    batch = kto.batch(1, Rows(np.zeros(3, int), np.array([0, 1, 2])))
    near, far = (kto.loss(kto._model, dict(batch) | {"kl": torch.full((3,), kl)}) for kl in (0.0, 2.0))
    assert near.sum != far.sum


def test_a_new_loss_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """The objective takes from its settings all that differs between losses over pairs."""

    class Hinge(PairMethod):
        """max(0, margin - (log P(chosen) - log P(rejected))) (SLiC-HF, arXiv 2305.10425)."""

        uses_reference: ClassVar[bool] = False
        margin: float = 1.0

        def loss(self, pairs: AnswerPairs) -> Loss:
            losses = torch.relu(self.margin - (pairs.chosen - pairs.rejected))
            return Loss(losses.sum(), torch.tensor(float(len(losses))), {})

    two = [PromptTree(tree(n).prompt, (*tree(n).answers, *tree(n + 10).answers)) for n in range(2)]
    read = PreferenceTrees(["first", "second"], two, None)
    monkeypatch.setattr(preference_objectives, "read_pairs", lambda parts, split: read)
    model = model_of(1)
    objective = PairObjective([], Hinge(margin=2.0), model, ALONE)
    found = objective.loss(model, objective.batch(0, Rows(np.zeros(2, np.int64), np.arange(2))))
    expected = 0.0
    for pair in two:
        prompt, *answers = (torch.from_numpy(ids) for ids in (pair.prompt, *pair.answers))
        chosen, rejected = (logprob(model, prompt, answer) for answer in answers)
        expected += max(0.0, 2.0 - (chosen - rejected))
    assert found.weight == 2
    assert found.sum.item() == pytest.approx(expected, rel=1e-4)
