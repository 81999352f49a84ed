"""Policy-gradient losses: GRPO compares the answers to one prompt, PPO compares answers with a value model.

    advantages = group_advantages(rewards, num_generations)                 GRPO: one per completion
    advantages, returns = generalised_advantages(rewards, values, mask)     PPO: one per token
    loss = policy_loss(logprobs, old_logprobs, advantages, mask)

In shapes, B is the number of completions and T the number of tokens of the longest one. `mask` [B, T] is true for the
tokens of a completion, including its stop token. All tensors are fp32. A loss is a sum over the global batch and the
weight of that sum; TRL's loss is `sum / weight`. Settings have TRL's names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from bessemer.train.objectives.base import Loss, Measures

ScaleRewards = Literal["none", "group", "batch"]
"""Divisor of the advantages: none, the standard deviation of the group, or that of the batch."""
LossType = Literal["dapo", "grpo", "dr_grpo"]
"""How the loss is averaged. `dapo` (arXiv 2503.14476) takes the mean over all tokens of the global batch. `grpo` (arXiv
2402.03300) takes the mean of each completion, then the mean over completions. `dr_grpo` (arXiv 2503.20783) divides the
sum of each completion by a constant, then takes the mean over completions.
"""
Estimator = Literal["k1", "k2", "k3"]


def group_advantages(rewards: Tensor, num_generations: int, *, scale_rewards: ScaleRewards = "none") -> Tensor:
    """Each reward [B] minus the mean of its group, a run of `num_generations` consecutive rows.

    A NaN, from a failed reward function, is left out of the mean and gets the advantage 0. Division by the standard
    deviation of the group gives more weight to questions that are too easy or too hard (Dr. GRPO, arXiv 2503.20783).
    """
    assert num_generations > 1, "a group needs at least two answers to compare"
    groups = rewards.view(-1, num_generations)
    advantages = groups - groups.nanmean(1, keepdim=True)
    if scale_rewards == "group":
        advantages = advantages / (_deviation(groups, 1) + 1e-4)
    elif scale_rewards == "batch":
        advantages = advantages / (_deviation(rewards, 0) + 1e-4)
    return advantages.flatten().nan_to_num(nan=0.0)


def has_spread(rewards: Tensor, num_generations: int) -> Tensor:
    """Whether the rewards of each group differ, [groups]. Without a difference, the gradient is 0."""
    groups, missing = rewards.view(-1, num_generations), rewards.isnan().view(-1, num_generations)
    highest = groups.masked_fill(missing, -torch.inf).amax(1)
    return highest > groups.masked_fill(missing, torch.inf).amin(1)


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    epsilon: float = 0.2,
    epsilon_high: float = 0.28,
    delta: float | None = None,
    loss_type: LossType = "dapo",
    max_completion_length: int | None = None,
    beta: float = 0.0,
    reference_logprobs: Tensor | None = None,
    averaged: Tensor | None = None,
) -> Loss:
    """-min(r A, clip(r, 1 - epsilon, 1 + epsilon_high) A) with r = policy / old policy, per token.

    Log-probabilities [B, T] are those of the sampled tokens; advantages are [B] or [B, T]. Proximal policy optimization
    (arXiv 1707.06347, eq. 7). A higher upper bound lets unlikely tokens rise (DAPO, arXiv 2503.14476). `delta` also
    bounds r from above if A < 0, which is the dual clip of arXiv 1912.09729 (usual: 3; above 1 + epsilon_high). `beta`
    weights the KL divergence from the reference, estimated by `k3`. `dr_grpo` divides by `max_completion_length` per
    completion. `averaged` [B] is false for completions excluded from the means of `grpo` and `dr_grpo`; by default all
    B count.
    """
    advantages = advantages[:, None] if advantages.ndim == 1 else advantages
    mask = mask.bool()
    ratio = (logprobs - old_logprobs).masked_fill(~mask, 0.0).exp()
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon_high)
    bounded = ratio if delta is None else ratio.clamp_max(delta)
    losses = -torch.min(bounded * advantages, clipped * advantages)
    tokens = mask.sum().float()
    outside = ((ratio < 1 - epsilon) & (advantages < 0)) | ((ratio > 1 + epsilon_high) & (advantages > 0))
    measures: Measures = {"clip_ratio": ((outside & mask).sum(), tokens)}
    if beta:
        assert reference_logprobs is not None, "the KL divergence needs a reference"
        distance = kl(logprobs.masked_fill(~mask, 0.0), reference_logprobs.masked_fill(~mask, 0.0), "k3")
        losses = losses + beta * distance
        measures["kl"] = (distance.detach().sum(), tokens)
    losses = losses.masked_fill(~mask, 0.0)
    completions = torch.tensor(float(len(mask)), device=mask.device) if averaged is None else averaged.sum().float()
    if loss_type == "dapo":
        return Loss(losses.sum(), tokens, measures)
    if loss_type == "grpo":
        return Loss((losses.sum(1) / mask.sum(1).clamp_min(1)).sum(), completions, measures)
    assert max_completion_length is not None, "`dr_grpo` needs `max_completion_length`"
    return Loss(losses.sum(), completions * max_completion_length, measures)


def kl(logprobs: Tensor, reference_logprobs: Tensor, estimator: Estimator) -> Tensor:
    """Estimates KL(policy || reference) in nats from each token that was drawn from the policy (Schulman, 2020).

    With d = log(policy / reference), the estimators are:
    - `k1` = d, for rewards: its mean is exact;
    - `k2` = d^2 / 2, for losses: its gradient is exact;
    - `k3` = exp(-d) - 1 + d, for logs: its mean is exact, it is never negative, and it has the smallest variance.
    """
    d = logprobs - reference_logprobs
    if estimator == "k1":
        return d
    return d.square() / 2 if estimator == "k2" else torch.expm1(-d) + d


def token_rewards(
    scores: Tensor, logprobs: Tensor, reference_logprobs: Tensor, mask: Tensor, *, kl_coef: float
) -> Tensor:
    """Rewards of PPO [B, T]: -`kl_coef` times `k1` per token, plus the completion's score [B] at its last token."""
    rewards = -kl_coef * kl(logprobs, reference_logprobs, "k1") * mask
    last = mask.long().cumsum(1).argmax(1, keepdim=True)
    return rewards.scatter_add(1, last, scores[:, None].to(rewards))


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Advantages and returns of all tokens, [B, T] each, without gradient (arXiv 1506.02438, eq. 16).

    `gamma` discounts later rewards. With `lam` = 1 the advantages rely on the sampled rewards, with 0 on the values.
    """
    values, rewards = (values * mask).detach(), (rewards * mask).detach()
    advantages = torch.zeros_like(values)
    following = following_value = torch.zeros_like(values[:, 0])
    for t in range(values.shape[1] - 1, -1, -1):
        surprise = rewards[:, t] + gamma * following_value - values[:, t]
        following = advantages[:, t] = surprise + gamma * lam * following
        following_value = values[:, t]
    return advantages, advantages + values


def whitened(advantages: Tensor, mask: Tensor, total: Callable[[Tensor], Tensor] = lambda sums: sums) -> Tensor:
    """Scales advantages [B, T] to mean 0 and variance 1 over the tokens in `mask` of all workers.

    `total` sums a tensor over the workers.
    """
    chosen = advantages[mask.bool()].double()
    count, sum_ = total(torch.stack((torch.tensor(float(chosen.numel())).to(chosen), chosen.sum()))).unbind()
    mean = sum_ / count
    variance = total((chosen - mean).square().sum()) / (count - 1).clamp_min(1)
    return (advantages - mean.to(advantages)) * torch.rsqrt(variance + 1e-8).to(advantages)


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, cliprange_value: float = 0.2
) -> Loss:
    """Half the squared error of a value model [B, T], clipped as in PPO.

    The error of a value is the larger of two: that of the value itself, and that of the value clipped to within
    `cliprange_value` of the old value.
    """
    near = torch.max(torch.min(values, old_values + cliprange_value), old_values - cliprange_value)
    error, near_error = (values - returns).square(), (near - returns).square()
    tokens = mask.sum().float()
    clipped = ((near_error > error) & mask.bool()).sum()
    total = 0.5 * (torch.max(error, near_error) * mask).sum()
    return Loss(total, tokens, {"value_clip_ratio": (clipped, tokens)})


def _deviation(values: Tensor, dimension: int) -> Tensor:
    """Sample standard deviation along `dimension`, which is kept with size 1. Leaves out NaN."""
    variance = (values - values.nanmean(dimension, keepdim=True)).square().nanmean(dimension, keepdim=True)
    count = (~values.isnan()).sum(dimension, keepdim=True)
    return (variance * count / (count - 1)).sqrt()
