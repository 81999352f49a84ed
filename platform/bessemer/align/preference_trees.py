"""Reads the preferences of a split as trees, and computes the log-probabilities of their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bessemer.align.prompt_trees import PromptTree, answer_logprobs, lay_out
from bessemer.tokens.row_tables import PREFERENCES, read_split
from bessemer.train.objectives.base import Batch
from bessemer.train.workers import Workers

BATCH_TOKENS = 8192
"""Tokens per batch of a pass over all answers before training."""


class PreferenceTrees:
    """The preferences of a split. For single answers, `labels` is true for the desirable ones."""

    def __init__(self, names: list[str], trees: list[PromptTree], labels: npt.NDArray[np.bool_] | None = None) -> None:
        self.names, self.trees, self.labels = names, trees, labels

    def __len__(self) -> int:
        return len(self.trees)


def read_pairs(parts: Sequence[Path], split: str) -> PreferenceTrees:
    """Reads the rows with two answers, as trees with the chosen answer first."""
    found = read_split(parts, PREFERENCES, split, ["id", "prompt_ids", "chosen_ids", "rejected_ids"])
    prompts, chosen, rejected = (found[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
    whole = np.flatnonzero((chosen.lengths > 0) & (rejected.lengths > 0)).tolist()
    names = found["id"].to_pylist()
    return PreferenceTrees([names[n] for n in whole], [PromptTree(prompts[n], (chosen[n], rejected[n])) for n in whole])


def read_labelled_answers(parts: Sequence[Path], split: str) -> PreferenceTrees:
    """Reads each answer as a separate item. A chosen answer has the label true, a rejected answer false."""
    found = read_split(parts, PREFERENCES, split, ["id", "prompt_ids", "chosen_ids", "rejected_ids"])
    names, trees, labels = [], [], []
    for number, name in enumerate(found["id"].to_pylist()):
        for side, liked in (("chosen_ids", True), ("rejected_ids", False)):
            if len(answer := found[side][number]):
                names.append(name)
                trees.append(PromptTree(found["prompt_ids"][number], (answer,)))
                labels.append(liked)
    return PreferenceTrees(names, trees, np.array(labels, np.bool_))


@torch.no_grad()
def of_answers(
    ask: Callable[[Batch], Tensor], trees: Sequence[PromptTree], workers: Workers, *, batch_tokens: int = BATCH_TOKENS
) -> Tensor:
    """The values of `ask` for every answer, [trees, answers], in main memory. The workers share the work.

    `ask` maps a batch of `lay_out` to values [rows, trees, answers].
    """
    found = torch.zeros(len(trees), len(trees[0].answers) if trees else 1)
    order = sorted(range(len(trees)), key=lambda number: -trees[number].size)[workers.rank :: workers.size]
    while order:
        count = max(1, batch_tokens // trees[order[0]].size)
        chosen, order = order[:count], order[count:]
        batch, rows = lay_out([trees[number] for number in chosen])
        values = ask({name: value.to(workers.device) for name, value in batch.items()}).cpu()
        for row, numbers in enumerate(rows):
            for slot, number in enumerate(numbers):
                found[chosen[number]] = values[row, slot]
    return workers.sum(found).cpu()


def logprobs_of(model: nn.Module, trees: Sequence[PromptTree], workers: Workers) -> Tensor:
    """Log-probabilities of all answers in nats, summed over tokens: [trees, answers], fp32."""
    return of_answers(partial(answer_logprobs, model), trees, workers)


def in_rows(values: Tensor, rows: Sequence[Sequence[int]], slots: int) -> Tensor:
    """Moves values of trees [trees, ...] to the slots of `lay_out`: [rows, slots, ...], 0 at slots without a tree."""
    placed = values.new_zeros(len(rows), slots, *values.shape[1:])
    for row, numbers in enumerate(rows):
        placed[row, : len(numbers)] = values[list(numbers)]
    return placed
