"""Log-likelihoods of several continuations of one context, computed in a single row of the batch.

A context and its continuations form a tree: each continuation attends to the context and to itself, but not to the
other continuations. The whole tree is one row of tokens, with an attention mask for this rule. The positions of each
continuation restart after the context. So the context is computed once instead of once per continuation, and the
output head is applied only at positions that predict a token. For a question of 60 tokens with four answers of 15
tokens, this takes half of the arithmetic of four rows; with a long few-shot prompt, a quarter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.scores import Numbers
from bessemer.model.finite import check_finite

BATCH_TOKENS, ACCELERATOR_BATCH_TOKENS = 2048, 8192
"""Tokens per batch, padding included. On a CPU, 8192 tokens exceed the cache and are a fifth slower."""
LOGITS_AT_ONCE, ACCELERATOR_LOGITS_AT_ONCE = 1 << 21, 1 << 26
"""Logits in memory at one time, limited for the same reason: on a CPU 8 MiB in fp32."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ContinuationTree:
    """A context (at least one token) and its continuations (each at least one)."""

    context: list[int]
    continuations: list[list[int]]

    @property
    def num_inputs(self) -> int:
        """Number of input tokens: the context, and each continuation without its last token, which predicts nothing."""
        return len(self.context) + sum(len(tokens) - 1 for tokens in self.continuations)

    def fits(self, room: int) -> bool:
        """Whether every branch fits into a context of `room` tokens."""
        return len(self.context) + max(len(tokens) for tokens in self.continuations) - 1 <= room

    def windows(self, tokens: list[int], room: int) -> list[ContinuationTree]:
        """Splits one continuation into trees that fit into a context of `room` tokens.

        The beginning of the context is cut off until the branch fits, as in lm-evaluation-harness. A continuation that
        does not fit without its context is split into windows that do not overlap. The context of each window is the
        last token before it.
        """
        kept = room + 1 - len(tokens)
        if kept > 0:
            return [ContinuationTree(self.context[-kept:], [tokens])]
        starts = range(0, len(tokens), room)
        before = [self.context[-1], *(tokens[start - 1] for start in starts[1:])]
        return [
            ContinuationTree([last], [tokens[start : start + room]]) for last, start in zip(before, starts, strict=True)
        ]


@dataclass(frozen=True)
class Likelihoods:
    """The results for the continuations of a tree, one entry per continuation."""

    nats: Numbers
    """log P(continuation | context)."""
    greedy: npt.NDArray[np.bool_]
    """Whether greedy decoding generates the continuation: no other token is likelier at any position."""
    num_tokens: Integers


def log_likelihoods(subject: EvaluatedModel, trees: Sequence[ContinuationTree]) -> list[Likelihoods]:
    """Returns the likelihoods of each tree. A tree that exceeds the model's context is split by branch into windows."""
    room = subject.context
    windows = [None if tree.fits(room) else [tree.windows(one, room) for one in tree.continuations] for tree in trees]
    flat: list[ContinuationTree] = []
    for tree, branches in zip(trees, windows, strict=True):
        flat += [tree] if branches is None else [window for branch in branches for window in branch]
    found: dict[int, Likelihoods] = {}
    for batch in _batches(flat, BATCH_TOKENS if subject.device.type == "cpu" else ACCELERATOR_BATCH_TOKENS):
        found |= zip(batch, _batch_log_likelihoods(subject, [flat[number] for number in batch]), strict=True)
    answers = (found[number] for number in range(len(flat)))
    return [
        next(answers) if branches is None else _joined([[next(answers) for _ in branch] for branch in branches])
        for branches in windows
    ]


def _joined(branches: Sequence[Sequence[Likelihoods]]) -> Likelihoods:
    """Combines the windows of each branch into the likelihoods of the tree."""
    return Likelihoods(
        np.array([sum(float(window.nats[0]) for window in branch) for branch in branches]),
        np.array([all(window.greedy[0] for window in branch) for branch in branches]),
        np.array([sum(int(window.num_tokens[0]) for window in branch) for branch in branches]),
    )


def _batches(trees: Sequence[ContinuationTree], num_tokens: int) -> Iterator[list[int]]:
    """Yields batches of the indices of trees, longest first. Padded to its longest tree, a batch has at most
    `num_tokens` tokens or one tree."""
    order = sorted(range(len(trees)), key=lambda i: -trees[i].num_inputs)
    start = 0
    while start < len(order):
        size = max(1, num_tokens // trees[order[start]].num_inputs)
        yield order[start : start + size]
        start += size


@torch.inference_mode()
def _batch_log_likelihoods(subject: EvaluatedModel, trees: Sequence[ContinuationTree]) -> Iterator[Likelihoods]:
    """Yields the likelihoods of the trees in order, from one forward pass."""
    rows = [_layout(tree) for tree in trees]
    width = max(len(row.tokens) for row in rows)
    tokens, positions, branches = (np.zeros((len(rows), width), np.int64) for _ in range(3))
    for number, row in enumerate(rows):
        tokens[number, : len(row.tokens)] = row.tokens
        positions[number, : len(row.tokens)] = row.positions
        branches[number, : len(row.tokens)] = row.branches
    inputs = torch.from_numpy(tokens).to(subject.device)
    where = np.concatenate([np.full(len(row.sources), number) for number, row in enumerate(rows)])
    sources = np.concatenate([row.sources for row in rows])
    targets = np.concatenate([row.targets for row in rows])
    at = (torch.from_numpy(where).to(subject.device), torch.from_numpy(sources).to(subject.device))
    if branches.any():
        branch = torch.from_numpy(branches).to(subject.device)
        mask = (branch[:, :, None] == branch[:, None, :]) | (branch == 0)[:, None, :]
        predicted = subject.model.hidden_states(
            inputs, positions=torch.from_numpy(positions).to(subject.device), mask=mask, at=at
        )
    else:
        predicted = subject.model.hidden_states(inputs, at=at)
    nats, greedy = _predictions(predicted, subject.model.head(), torch.from_numpy(targets).to(subject.device))
    sizes = np.array([len(continuation) for tree in trees for continuation in tree.continuations])
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    sums, all_greedy = np.add.reduceat(nats, starts), np.logical_and.reduceat(greedy, starts)
    ends = np.cumsum([len(tree.continuations) for tree in trees])[:-1]
    split = (np.split(values, ends) for values in (sums, all_greedy, sizes))
    return (Likelihoods(*values) for values in zip(*split, strict=True))


def _predictions(hidden: Tensor, head: Tensor, targets: Tensor) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Returns for each target [n] log P and whether no token is likelier, from hidden states [n, D].

    Raises NotFinite if a log P is not.
    """
    head = head.to(hidden.dtype)
    size = max(1, (LOGITS_AT_ONCE if hidden.device.type == "cpu" else ACCELERATOR_LOGITS_AT_ONCE) // len(head))
    nats, greedy = [], []
    for part, wanted in zip(hidden.split(size), targets.split(size), strict=True):  # type: ignore[no-untyped-call]
        logits = F.linear(part, head).float()
        right, greatest = logits.gather(1, wanted[:, None])[:, 0], logits.amax(1)
        sums = logits.sub_(greatest[:, None]).exp_().sum(1)  # in place: `logsumexp` takes twice as long
        nats.append(check_finite((right - greatest).double() - sums.double().log()))
        greedy.append(right == greatest)
    return torch.cat(nats).cpu().numpy(), torch.cat(greedy).cpu().numpy()


@dataclass(frozen=True)
class _Row:
    """A tree as one row of tokens. `sources` has for each target the index of the input that predicts it."""

    tokens: Integers
    positions: Integers
    branches: Integers
    """0 for the context, 1, 2, ... for the continuations. Padding also has 0: causal attention never reaches it."""
    sources: Integers
    targets: Integers


def _layout(tree: ContinuationTree) -> _Row:
    length = len(tree.context)
    tokens, positions, branches = list(tree.context), list(range(length)), [0] * length
    alone = len(tree.continuations) == 1  # one branch is plain text and needs no mask
    sources, targets = [], []
    for number, continuation in enumerate(tree.continuations, start=1):
        sources += [length - 1, *range(len(tokens), len(tokens) + len(continuation) - 1)]
        targets += continuation
        positions += range(length, length + len(continuation) - 1)
        branches += [0 if alone else number] * (len(continuation) - 1)
        tokens += continuation[:-1]
    return _Row(*(np.array(column, np.int64) for column in (tokens, positions, branches, sources, targets)))
