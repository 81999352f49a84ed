"""The objective that trains a reward model to predict the preferred one of two answers.

The model reads a prompt and an answer, and its output at the last token of the answer is the reward. The loss is that
of Bradley and Terry (Ouyang et al. 2022, arXiv 2203.02155). Answers to the same prompt are branches of one tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bessemer.align.preference_losses import bradley_terry
from bessemer.align.preference_objectives import SPLITS, OverPreferences
from bessemer.align.preference_trees import read_pairs
from bessemer.align.prompt_trees import lay_out, tree_mask
from bessemer.train.objectives.base import Batch, Loss
from bessemer.train.sampler import Integers


class Rewarding(OverPreferences):
    """Pairs of answers. `center_rewards_coefficient` is the weight of the term that keeps rewards near 0."""

    measure_names = ("loss", "rewards_chosen", "rewards_rejected", "rewards_margins", "rewards_accuracies")
    causal = False

    def __init__(self, parts: Sequence[Path], *, center_rewards_coefficient: float) -> None:
        super().__init__(*(read_pairs(parts, split) for split in SPLITS))
        self.center_rewards_coefficient = center_rewards_coefficient

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        chosen, rejected = answer_rewards(model, batch)[batch["ends"][:, :, 0] >= 0].unbind(-1)
        return bradley_terry(chosen, rejected, center_rewards_coefficient=self.center_rewards_coefficient)

    def _laid_out(self, split: int, numbers: Integers) -> dict[str, Tensor]:
        trees = (self._items, self._held_out)[split].trees
        return lay_out([trees[number] for number in numbers])[0]


def answer_rewards(model: nn.Module, batch: Batch) -> Tensor:
    """A reward model's rewards of all answers, [rows, trees, answers], fp32; 0 at slots without an answer."""
    ends = batch["ends"]
    there = ends >= 0
    rows = torch.arange(len(ends), device=ends.device)[:, None, None].expand_as(ends)[there]
    scores = model(batch["tokens"], at=(rows, ends[there]), positions=batch["positions"], mask=tree_mask(batch))
    return torch.zeros(ends.shape, device=ends.device).masked_scatter(there, scores)
