"""Preference losses: on pairs of answers (DPO, IPO, ORPO, reward models) and on single labelled answers (KTO).

A log-probability is that of an answer given its prompt, summed over the answer's tokens. Tensors are fp32 [N], for N
pairs or answers. Each loss is the sum over them with the weight N; TRL's loss is `sum / weight`. Settings have TRL's
names and defaults. The rewards in the measures are beta log(policy / reference), as in TRL's logs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bessemer.train.objectives.base import Loss, Measures


@dataclass(frozen=True)
class AnswerPairs:
    """Pairs of answers to the same prompts, fp32 [N]."""

    chosen: Tensor
    rejected: Tensor
    reference: tuple[Tensor, ...]
    """Log-probabilities of the chosen and the rejected answers under the reference; empty without a reference."""
    lengths: tuple[Tensor, ...]
    """Numbers of tokens of the chosen and the rejected answers."""


def dpo(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> Loss:
    """-log sigmoid(beta x) with x = log(policy_c / policy_r) - log(reference_c / reference_r) of a pair (c, r).

    Direct preference optimization (arXiv 2305.18290, eq. 7). `label_smoothing` is the probability that a pair is in
    the wrong order (conservative DPO, eq. 3 of its authors' note).
    """
    chosen_ratio, rejected_ratio = chosen - reference_chosen, rejected - reference_rejected
    logits = beta * (chosen_ratio - rejected_ratio)
    losses = -F.logsigmoid(logits) * (1 - label_smoothing) - F.logsigmoid(-logits) * label_smoothing
    return _of_pairs(losses, beta * chosen_ratio, beta * rejected_ratio)


def ipo(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float = 0.1,
) -> Loss:
    """(x - 1 / (2 beta))^2 with x as in `dpo`, but from means over the tokens of each answer instead of sums.

    Identity preference optimization (arXiv 2310.12036, eq. 17; beta is its tau). Its authors use means, so that long
    answers do not weigh more.
    """
    chosen_ratio, rejected_ratio = chosen - reference_chosen, rejected - reference_rejected
    difference = chosen_ratio / chosen_lengths - rejected_ratio / rejected_lengths
    return _of_pairs((difference - 1 / (2 * beta)) ** 2, beta * chosen_ratio, beta * rejected_ratio)


def orpo(
    chosen: Tensor, rejected: Tensor, chosen_lengths: Tensor, rejected_lengths: Tensor, *, beta: float = 0.1
) -> Loss:
    """-m_c - beta log sigmoid(log odds(m_c) - log odds(m_r)) with m the mean log-probability of an answer's tokens.

    Odds ratio preference optimization (arXiv 2403.07691, eq. 6 and 7; beta is its lambda). It needs no reference model.
    The first term differs from TRL: here it is a mean over pairs, in TRL a mean over all tokens of the batch, prompts
    included.
    """
    chosen_mean, rejected_mean = chosen / chosen_lengths, rejected / rejected_lengths
    log_odds = (chosen_mean - rejected_mean) - (_log_one_minus_exp(chosen_mean) - _log_one_minus_exp(rejected_mean))
    losses = -chosen_mean - beta * F.logsigmoid(log_odds)
    return _of_pairs(losses, beta * chosen_mean, beta * rejected_mean)


def kto(
    policy: Tensor,
    reference: Tensor,
    desirable: Tensor,
    kl: Tensor,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Loss:
    """1 - sigmoid(beta (r - kl)) for desirable answers, 1 - sigmoid(beta (kl - r)) for undesirable ones.

    r = log(policy / reference) is [N], `desirable` [N] is boolean, and `kl` is from `kto_kl`. Kahneman-Tversky
    optimization (arXiv 2402.01306, eq. 7).
    """
    ratio = policy - reference
    losses = torch.where(
        desirable,
        desirable_weight * (1 - torch.sigmoid(beta * (ratio - kl))),
        undesirable_weight * (1 - torch.sigmoid(beta * (kl - ratio))),
    )
    rewards = (beta * ratio).detach()
    measures: Measures = {
        "rewards_chosen": ((rewards * desirable).sum(), desirable.sum()),
        "rewards_rejected": ((rewards * ~desirable).sum(), (~desirable).sum()),
        "kl": (kl.detach(), torch.ones_like(kl)),
    }
    return Loss(losses.sum(), _count(losses), measures)


def kto_kl(policy: Tensor, reference: Tensor) -> Tensor:
    """KTO's estimate of the KL divergence from the reference: a scalar >= 0 in nats per answer, without gradient.

    The log-probabilities are those of mismatched pairs of a prompt and an answer to another prompt. TRL pairs each
    prompt with the answer of the previous row.
    """
    return (policy - reference).mean().clamp_min(0).detach()


def bradley_terry(
    chosen: Tensor, rejected: Tensor, *, margin: Tensor | None = None, center_rewards_coefficient: float = 0.01
) -> Loss:
    """-log sigmoid(r_c - r_r - margin) + c (r_c + r_r)^2 for rewards r [N] and c = `center_rewards_coefficient`.

    The loss of a Bradley-Terry reward model. The second term keeps rewards near 0 (arXiv 2312.09244). `margin` is as in
    Llama 2 (arXiv 2307.09288).
    """
    difference = chosen - rejected
    losses = -F.logsigmoid(difference if margin is None else difference - margin)
    losses = losses + center_rewards_coefficient * (chosen + rejected) ** 2
    return _of_pairs(losses, chosen, rejected)


def _of_pairs(losses: Tensor, chosen_rewards: Tensor, rejected_rewards: Tensor) -> Loss:
    chosen, rejected, count = chosen_rewards.detach(), rejected_rewards.detach(), _count(losses)
    return Loss(
        losses.sum(),
        count,
        {
            "rewards_chosen": (chosen.sum(), count),
            "rewards_rejected": (rejected.sum(), count),
            "rewards_margins": ((chosen - rejected).sum(), count),
            "rewards_accuracies": ((chosen > rejected).sum(), count),
        },
    )


def _count(losses: Tensor) -> Tensor:
    return torch.tensor(float(losses.numel()), device=losses.device)


def _log_one_minus_exp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x <= 0, precise near 0 and for very negative x (Maechler, 2012). Finite even at x = 0."""
    x = x.clamp_max(-torch.finfo(x.dtype).eps)
    return torch.where(x > -math.log(2), torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))
