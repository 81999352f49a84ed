"""Prompts with several answers each, in as few tokens as can be.

The answers to a prompt are branches of a tree: all see the prompt and themselves, none sees another. In a row the
prompt stands once, its answers behind it, each counting its positions on from the prompt's end; several trees share a
row, and none sees another. A pair of answers so costs one prompt instead of two, and nothing is padded but the end of
each row.

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
class Tree:
    """A prompt and its answers, in tokens, each at least one."""

    prompt: Integers
    answers: Sequence[Integers]

    @property
    def size(self) -> int:
        return len(self.prompt) + sum(map(len, self.answers))


def lay_out(trees: Sequence[Tree], capacity: int = 0) -> tuple[dict[str, Tensor], list[list[int]]]:
    """The trees as a batch, and the numbers of those in each row; rows are as long as the longest tree, or `capacity`.

    `tokens`, `positions`, `trees` (0 is padding) and `branches` (0 is the prompt) are [rows, length]. `sources`,
    `targets`, `owners` and `offsets` [rows, n] say at which place which token of an answer is predicted, of which
    answer of the row, and which of its tokens it is; `ends` [rows, trees, answers] is where each answer ends, -1 where
    a row has fewer trees or a tree fewer answers.
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
    """The mask [rows, length, length] that keeps answers apart; order in time is the model's affair."""
    trees, branches = batch["trees"], batch["branches"]
    together = trees[:, :, None] == trees[:, None, :]
    return together & ((branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :]))


def answer_logprobs(model: nn.Module, batch: Batch) -> Tensor:
    """log P(answer | prompt) in nats [rows, trees, answers], fp32; 0 where there is none."""
    rows, places = torch.nonzero(batch["targets"] != IGNORED, as_tuple=True)
    return _by_answer(batch, rows, places, token_logprobs(model, batch))


def token_logprobs(model: nn.Module, batch: Batch, *, temperature: float = 1.0) -> Tensor:
    """log P of every token of an answer given what is before it, [n], in the order of rows and places in `targets`."""
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
    """Values [n] in the order of `token_logprobs` as [answers of all rows, tokens of the longest]; 0 elsewhere."""
    rows, places = torch.nonzero(batch["targets"] != IGNORED, as_tuple=True)
    ends, offsets = batch["ends"], batch["offsets"][rows, places]
    owners = rows * ends[0].numel() + batch["owners"][rows, places]
    longest = int(offsets.max()) + 1
    return values.new_zeros(ends.numel(), longest).index_put((owners, offsets), values)


def answer_lengths(batch: Batch) -> Tensor:
    """Tokens of each answer [rows, trees, answers], fp32; 0 where there is none."""
    rows, places = torch.nonzero(batch["targets"] != IGNORED, as_tuple=True)
    return _by_answer(batch, rows, places, torch.ones(len(rows), device=rows.device))


def _by_answer(batch: Batch, rows: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Values of predicted tokens, summed by the answer that they belong to."""
    ends = batch["ends"]
    owners = rows * ends[0].numel() + batch["owners"][rows, places]
    return torch.zeros(ends.numel(), device=values.device).index_add(0, owners, values).view(ends.shape)
