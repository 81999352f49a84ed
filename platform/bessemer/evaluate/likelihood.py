"""Log-likelihoods of several continuations of one context, in a single row of the batch.

A context and its continuations are a tree: every continuation sees the context and itself, none sees another. Laid
out one after the other, with an attention mask that says just this and with positions that begin anew after the
context, the whole tree is one row: the context is computed once, not once for each continuation, and the head is
applied only where something is predicted. For a question of 60 tokens with four answers of 15 this is half of the
arithmetic of four rows; with a long few-shot prompt, a quarter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from bessemer.errors import InputError
from bessemer.evaluate.scores import Numbers
from bessemer.evaluate.subject import Subject
from bessemer.model.loss import cross_entropy

BATCH_TOKENS = 8192
"""Tokens computed at once, padding included."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """A context (at least one token) and its continuations (each at least one)."""

    context: list[int]
    continuations: list[list[int]]

    @property
    def num_inputs(self) -> int:
        """The context, and all but the last token of each continuation: nothing follows those."""
        return len(self.context) + sum(len(tokens) - 1 for tokens in self.continuations)

    def cut(self, room: int) -> Tree:
        """The same with the context's beginning left out, so that every branch fits `room` inputs."""
        kept = room + 1 - max(len(tokens) for tokens in self.continuations)
        if kept < 1:
            raise InputError(
                f"a choice has {room + 1 - kept} tokens, and the model's context holds {room}",
                hint="leave such questions out, or evaluate a model with a longer context",
            )
        return Tree(self.context[-kept:], self.continuations)


def log_likelihoods(subject: Subject, trees: Sequence[Tree]) -> list[Numbers]:
    """log P(continuation | context) in nats of every continuation, for each tree.

    Contexts too long for the model lose their beginning, as in lm-evaluation-harness (there each branch by its own
    length, here all by the longest). Raises InputError where a continuation alone is too long.
    """
    trees = [tree.cut(subject.context) for tree in trees]
    found: list[Numbers] = [np.empty(0)] * len(trees)
    for batch in _batches(trees):
        sums = _batch_log_likelihoods(subject, [trees[i] for i in batch])
        ends = np.cumsum([len(trees[i].continuations) for i in batch])[:-1]
        for i, values in zip(batch, np.split(sums, ends), strict=True):
            found[i] = values
    return found


def _batches(trees: Sequence[Tree]) -> Iterator[list[int]]:
    """Numbers of trees of about equal length, longest first, `BATCH_TOKENS` together."""
    order = sorted(range(len(trees)), key=lambda i: -trees[i].num_inputs)
    while order:
        size = max(1, BATCH_TOKENS // trees[order[0]].num_inputs)
        yield order[:size]
        order = order[size:]


@torch.inference_mode()
def _batch_log_likelihoods(subject: Subject, trees: Sequence[Tree]) -> Numbers:
    """The sums of all continuations of all trees, in order."""
    rows = [_layout(tree) for tree in trees]
    width = max(len(row.tokens) for row in rows)
    tokens, positions, branches = (np.zeros((len(rows), width), np.int64) for _ in range(3))
    for number, row in enumerate(rows):
        tokens[number, : len(row.tokens)] = row.tokens
        positions[number, : len(row.tokens)] = row.positions
        branches[number, : len(row.tokens)] = row.branches
    branch = torch.from_numpy(branches).to(subject.device)
    mask = (branch[:, :, None] == branch[:, None, :]) | (branch == 0)[:, None, :]
    hidden = subject.model.hidden_states(
        torch.from_numpy(tokens).to(subject.device), positions=torch.from_numpy(positions).to(subject.device), mask=mask
    )
    where = np.concatenate([np.full(len(row.sources), number) for number, row in enumerate(rows)])
    sources = np.concatenate([row.sources for row in rows])
    targets = np.concatenate([row.targets for row in rows])
    predicted = hidden[torch.from_numpy(where), torch.from_numpy(sources)]
    nats = cross_entropy(
        predicted, subject.model.head(), torch.from_numpy(targets).to(subject.device), reduction="none"
    )
    sizes = [len(continuation) for tree in trees for continuation in tree.continuations]
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    return -np.add.reduceat(nats.double().cpu().numpy(), starts)


@dataclass(frozen=True)
class _Row:
    """A tree as a row: inputs, and for each target the place of the input that predicts it."""

    tokens: Integers
    positions: Integers
    branches: Integers
    """0 for the context, 1, 2, ... for the continuations; padding has 0 too, and nothing looks ahead to it."""
    sources: Integers
    targets: Integers


def _layout(tree: Tree) -> _Row:
    length = len(tree.context)
    tokens, positions, branches = list(tree.context), list(range(length)), [0] * length
    sources, targets = [], []
    for number, continuation in enumerate(tree.continuations, start=1):
        sources += [length - 1, *range(len(tokens), len(tokens) + len(continuation) - 1)]
        targets += continuation
        positions += range(length, length + len(continuation) - 1)
        branches += [number] * (len(continuation) - 1)
        tokens += continuation[:-1]
    return _Row(*(np.array(column, np.int64) for column in (tokens, positions, branches, sources, targets)))
