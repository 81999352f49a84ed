"""Lays out prompts with several answers each, in as few tokens as possible.

A prompt and its answers are a tree. A row holds the prompt once, followed by all its answers; the positions of each
answer continue from the end of the prompt. An answer attends to the prompt and to itself, not to the other answers.
Several trees share a row and do not attend to each other. So a pair of answers costs one prompt instead of two, and
only the end of a row is padding.

    batch, rows = lay_out(trees)
    logprobs = answer_logprobs(model, batch)        [rows, trees, answers], summed over each answer's tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bessemer.model.transformer import IGNORED
from bessemer.train.objectives.base import Batch
from bessemer.train.objectives.packing import pack

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PromptTree:
    """A prompt and its answers as token ids. Each has at least one token."""

    prompt: Integers
    answers: Sequence[Integers]

    @property
    def size(self) -> int:
        return len(self.prompt) + sum(map(len, self.answers))


def lay_out(trees: Sequence[PromptTree], capacity: int = 0) -> tuple[dict[str, Tensor], list[list[int]]]:
    """Packs trees into a batch. Returns the batch and, per row, the indices of its trees.

    Rows are as long as the longest tree, or `capacity` if that is longer. The columns of the batch are:

    - `tokens` and `positions` [rows, length];
    - `trees` [rows, length]: 1 plus the slot of the tree in the row, 0 for padding;
    - `branches` [rows, length]: the number of the answer in the tree, 0 for the prompt;
    - `targets` [rows, n]: the tokens of the answers;
    - `sources` [rows, n]: the place in the row whose output predicts the target;
    - `owners` [rows, n]: the answer in the row that the target belongs to;
    - `offsets` [rows, n]: the index of the target in its answer;
    - `ends` [rows, trees, answers]: the place of the last token of each answer, -1 for a missing answer.
    """
    rows = pack(np.array([tree.size for tree in trees]), max([capacity, *(tree.size for tree in trees)]))
    length = max(sum(trees[number].size for number in row) for row in rows)
    predicted = max(sum(sum(map(len, trees[number].answers)) for number in row) for row in rows)
    count, most = max(len(tree.answers) for tree in trees), max(map(len, rows))
    tokens, positions, which_tree, branches = (np.zeros((len(rows), length), np.int64) for _ in range(4))
    sources, owners, offsets = (np.zeros((len(rows), predicted), np.int64) for _ in range(3))
    targets = np.full((len(rows), predicted), IGNORED)
    ends = np.full((len(rows), most, count), -1)
    for row, numbers in enumerate(rows):
        place = filled = 0
        for slot, tree in enumerate(trees[number] for number in numbers):
            fork = place + len(tree.prompt) - 1
            for branch, piece in enumerate([tree.prompt, *tree.answers]):
                here = slice(place, place + len(piece))
                tokens[row, here] = piece
                positions[row, here] = np.arange(len(piece)) + (len(tree.prompt) if branch else 0)
                which_tree[row, here], branches[row, here] = slot + 1, branch
                if branch:
                    asked = slice(filled, filled + len(piece))
                    sources[row, asked] = [fork, *range(place, place + len(piece) - 1)]
                    targets[row, asked] = piece
                    owners[row, asked] = slot * count + branch - 1
                    offsets[row, asked] = np.arange(len(piece))
                    ends[row, slot, branch - 1] = place + len(piece) - 1
                    filled += len(piece)
                place += len(piece)
    columns = {
        "tokens": tokens, "positions": positions, "trees": which_tree, "branches": branches,
        "sources": sources, "targets": targets, "owners": owners, "offsets": offsets, "ends": ends,
    }  # fmt: skip
    return {name: torch.from_numpy(column) for name, column in columns.items()}, rows


def tree_mask(batch: Batch) -> Tensor:
    """The mask [rows, length, length] that separates trees and answers. The model adds the causal mask."""
    trees, branches = batch["trees"], batch["branches"]
    together = trees[:, :, None] == trees[:, None, :]
    return together & ((branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :]))


def answer_logprobs(model: nn.Module, batch: Batch) -> Tensor:
    """log P(answer | prompt) in nats, [rows, trees, answers], fp32; 0 at slots without an answer."""
    rows, places = torch.nonzero(batch["targets"] != IGNORED, as_tuple=True)
    return _by_answer(batch, rows, places, token_logprobs(model, batch))


def token_logprobs(model: nn.Module, batch: Batch, *, temperature: float = 1.0) -> Tensor:
    """log P of every token of an answer given the tokens before it, in nats, [n], in the order of `targets`."""
    rows, places = torch.nonzero(batch["targets"] != IGNORED, as_tuple=True)
    nats: Tensor = model(
        batch["tokens"],
        at=(rows, batch["sources"][rows, places]),
        targets=batch["targets"][rows, places],
        reduction="none",
        temperature=temperature,
        positions=batch["positions"],
        mask=tree_mask(batch),
    )
    return -nats


def by_answer_and_token(batch: Batch, values: Tensor) -> Tensor:
    """Values [n], in the order of `token_logprobs`, as [answers of all rows, tokens of the longest]; 0 elsewhere."""
    rows, places = torch.nonzero(batch["targets"] != IGNORED, as_tuple=True)
    ends, offsets = batch["ends"], batch["offsets"][rows, places]
    owners = rows * ends[0].numel() + batch["owners"][rows, places]
    longest = int(offsets.max()) + 1
    return values.new_zeros(ends.numel(), longest).index_put((owners, offsets), values)


def answer_lengths(batch: Batch) -> Tensor:
    """Number of tokens of each answer, [rows, trees, answers], fp32; 0 at slots without an answer."""
    rows, places = torch.nonzero(batch["targets"] != IGNORED, as_tuple=True)
    return _by_answer(batch, rows, places, torch.ones(len(rows), device=rows.device))


def _by_answer(batch: Batch, rows: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Sums values of predicted tokens per answer, [rows, trees, answers]."""
    ends = batch["ends"]
    owners = rows * ends[0].numel() + batch["owners"][rows, places]
    return torch.zeros(ends.numel(), device=values.device).index_add(0, owners, values).view(ends.shape)
