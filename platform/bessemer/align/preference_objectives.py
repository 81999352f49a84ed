"""Preference objectives for the trainer: DPO, IPO, ORPO and KTO, over trees of answers.

The reference is the model before training. Its log-probabilities are computed once, in one pass over the data: one
number per answer, instead of a second model in memory and a second forward pass in every step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bessemer.align import preference_losses
from bessemer.align.preference_losses import AnswerPairs
from bessemer.align.preference_trees import PreferenceTrees, in_rows, logprobs_of, read_labelled_answers, read_pairs
from bessemer.align.prompt_trees import PromptTree, answer_lengths, answer_logprobs, lay_out
from bessemer.align.settings import Kto, Method, PairMethod
from bessemer.train.objectives.base import Batch, Loss, Measures, Stateless, generator_of
from bessemer.train.sampler import Integers, Rows
from bessemer.train.workers import Workers

SPLITS = ("tune", "validation")


class OverPreferences(Stateless, ABC):
    """Base of the objectives over preferences. Their rows are items instead of token windows."""

    causal = True
    prefetch = True
    measure_names: tuple[str, ...] = ("loss", "rewards_chosen", "rewards_rejected", "rewards_margins")

    def __init__(self, items: PreferenceTrees, held_out: PreferenceTrees) -> None:
        self._items, self._held_out = items, held_out
        self.num_rows, self.num_validation_rows = len(items), len(held_out)
        self.modules = nn.ModuleDict()

    def batch(self, step: int, rows: Rows) -> Batch:
        return self._laid_out(0, rows.index)

    def validation_batch(self, first: int, last: int) -> Batch:
        return self._laid_out(1, np.arange(first, last))

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        loss = self.loss(model, batch)
        return {"loss": (loss.sum, loss.weight), **loss.measures}

    def documents(self, rows: Rows) -> list[str]:
        return list(dict.fromkeys(self._items.names[number] for number in rows.index))

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Loss: ...

    @abstractmethod
    def _laid_out(self, split: int, numbers: Integers) -> dict[str, Tensor]:
        """A batch of the items `numbers` of a split (0: `tune`, 1: `validation`)."""


class PairObjective(OverPreferences):
    """The objective of a loss over pairs of answers: DPO, IPO, ORPO."""

    measure_names = (*OverPreferences.measure_names, "rewards_accuracies")

    def __init__(self, parts: Sequence[Path], method: PairMethod, model: nn.Module, workers: Workers) -> None:
        super().__init__(*(read_pairs(parts, split) for split in SPLITS))
        self.method = method
        self._reference = [
            logprobs_of(model, items.trees, workers) if method.uses_reference else None
            for items in (self._items, self._held_out)
        ]

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        there = batch["ends"][:, :, 0] >= 0
        chosen, rejected = answer_logprobs(model, batch)[there].unbind(-1)
        reference = batch["reference"][there].unbind(-1) if self.method.uses_reference else ()
        lengths = answer_lengths(batch)[there].unbind(-1)
        return self.method.loss(AnswerPairs(chosen, rejected, reference, lengths))

    def _laid_out(self, split: int, numbers: Integers) -> dict[str, Tensor]:
        items = (self._items, self._held_out)[split]
        batch, rows = lay_out([items.trees[number] for number in numbers])
        reference = self._reference[split]
        if reference is None:
            return batch
        return batch | {"reference": in_rows(reference[numbers], rows, batch["ends"].shape[1])}


class KtoObjective(OverPreferences):
    """The objective of KTO, over single answers with a label.

    The KL divergence from the reference is estimated over the whole global batch, so it does not depend on
    micro-batches or workers. The estimate uses mismatched prompts and answers, and the weights before the step; so
    batches cannot be prefetched. On held-out data it is 0.
    """

    prefetch = False
    measure_names = ("loss", "rewards_chosen", "rewards_rejected")

    def __init__(self, parts: Sequence[Path], method: Kto, model: nn.Module, workers: Workers, *, seed: int) -> None:
        super().__init__(*(read_labelled_answers(parts, split) for split in SPLITS))
        self.method, self._model, self._workers = method, model, workers
        self._crossed = _crossed(self._items.trees, seed)
        self._reference = [logprobs_of(model, items.trees, workers)[:, 0] for items in (self._items, self._held_out)]
        self._crossed_reference = logprobs_of(model, self._crossed, workers)[:, 0]

    def batch(self, step: int, rows: Rows) -> Batch:
        batch = self._laid_out(0, rows.index)
        return batch | {"kl": self._distance(rows.index).expand(len(batch["tokens"]))}

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        there = batch["ends"][:, :, 0] >= 0
        return preference_losses.kto(
            answer_logprobs(model, batch)[there][:, 0],
            batch["reference"][there],
            batch["labels"][there],
            batch["kl"][0],
            beta=self.method.beta,
            desirable_weight=self.method.desirable_weight,
            undesirable_weight=self.method.undesirable_weight,
        )

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        return {name: value for name, value in super().measure(model, batch).items() if name != "kl"}

    def _distance(self, numbers: Integers) -> Tensor:
        """The KL estimate of the global batch. Each worker contributes the sum over its rows."""
        alone = Workers(0, 1, self._workers.device)
        now = logprobs_of(self._model, [self._crossed[number] for number in numbers], alone)[:, 0]
        before = self._crossed_reference[numbers]
        sums = self._workers.sum(torch.stack((now.sum(), before.sum(), torch.tensor(float(len(numbers)))))).cpu()
        return preference_losses.kto_kl(sums[0] / sums[2], sums[1] / sums[2])

    def _laid_out(self, split: int, numbers: Integers) -> dict[str, Tensor]:
        items = (self._items, self._held_out)[split]
        assert items.labels is not None
        batch, rows = lay_out([items.trees[number] for number in numbers])
        slots = batch["ends"].shape[1]
        return batch | {
            "reference": in_rows(self._reference[split][numbers], rows, slots),
            "labels": in_rows(torch.from_numpy(items.labels[numbers]), rows, slots),
            "kl": torch.zeros(len(rows)),
        }


def _crossed(trees: Sequence[PromptTree], seed: int) -> list[PromptTree]:
    """Pairs each prompt with the answer of another item: the one before it in a shuffled order."""
    order = generator_of("crossed", seed).permutation(len(trees))
    found: list[PromptTree | None] = [None] * len(trees)
    for before, here in zip(np.roll(order, 1).tolist(), order.tolist(), strict=True):
        found[here] = PromptTree(trees[here].prompt, trees[before].answers)
    return [tree for tree in found if tree is not None]


def build(
    method: Method, parts: Sequence[Path], model: nn.Module, workers: Workers, *, seed: int
) -> PairObjective | KtoObjective:
    """Builds the objective of a method. The present weights of `model` are the reference."""
    if isinstance(method, Kto):
        return KtoObjective(parts, method, model, workers, seed=seed)
    return PairObjective(parts, method, model, workers)
