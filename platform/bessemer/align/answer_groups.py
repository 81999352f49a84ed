"""The answers to one prompt as a group, and the figures that the log shows of a step's groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bessemer.align import policy_losses
from bessemer.align.rollouts import Rollout
from bessemer.train.objectives.base import Measures


@dataclass(frozen=True)
class AnswerGroup:
    """The answers to one prompt with their rewards, [answers]; NaN for an answer without a reward."""

    rollouts: list[Rollout]
    rewards: Tensor
    by_reward: Mapping[str, Sequence[float]]
    """Rewards before weighting, by label and answer."""
    failures: Sequence[str]
    """Error messages of the rewards from the call that scored this group."""
    averaged: bool = True
    """Whether these answers count in the mean of the loss."""


def has_spread(group: AnswerGroup) -> bool:
    """Whether the rewards of the group differ."""
    return bool(policy_losses.has_spread(group.rewards, len(group.rewards))[0])


def placeholder(group: AnswerGroup) -> AnswerGroup:
    """A copy of a group without rewards, for a worker that has no useful group. Its gradient is 0."""
    return replace(group, rewards=torch.full_like(group.rewards, torch.nan), averaged=False)


def group_measures(groups: Sequence[AnswerGroup], total: Callable[[Tensor], Tensor]) -> Measures:
    """The measures of all answers, including those left out of the batch. `total` sums a tensor over the workers."""
    rewards = torch.stack([group.rewards for group in groups])
    lengths = torch.tensor([[float(len(r.tokens)) for r in group.rollouts] for group in groups])
    truncated = torch.tensor([[float(r.finish_reason == "length") for r in group.rollouts] for group in groups])
    known = ~rewards.isnan()
    one, answers, asked = torch.tensor(1.0), torch.tensor(float(lengths.numel())), torch.tensor(float(len(groups)))
    spread = torch.tensor(float(sum(map(has_spread, groups))))
    by_label = {
        f"reward_{label}": torch.tensor([group.by_reward[label] for group in groups]) for label in groups[0].by_reward
    }
    each = by_label if len(by_label) > 1 else {}
    return {name: (values.nansum(), (~values.isnan()).sum()) for name, values in each.items()} | {
        "reward": (rewards.nansum(), known.sum()),
        "completion_length": (lengths.sum(), answers),
        "truncated_ratio": (truncated.sum(), answers),
        "zero_spread_ratio": (asked - spread, asked),
        "length_reward_correlation": (_correlation(lengths[known], rewards[known], total), one),
        "reward_failures": ((~known).sum(), answers),
    }


def _correlation(x: Tensor, y: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
    """Pearson's correlation over the values of all workers; 0 if `x` or `y` is constant."""
    both = torch.stack((x, y, torch.ones_like(x))).double()
    *sums, count = total(both.sum(1))
    away = both[:2] - torch.stack(sums)[:, None] / count
    (xx, xy), (_, yy) = total(away @ away.T)
    size = (xx * yy).sqrt()
    return xy / size if size > 0 else torch.zeros(())
