"""Losses on what people prefer: pairs of answers (DPO, IPO, ORPO, a reward model) and single thumbs (KTO).

Log-probabilities are those of an answer given its prompt, summed over the answer's tokens, fp32 [N] for N pairs or
answers. Every loss is a sum over them with their number as its weight; TRL's losses are `sum / weight`. Settings have
TRL's names and defaults. Rewards in the measures are beta log(policy / reference), as TRL logs them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from bessemer.train.objectives.base import Loss, Measures


def dpo(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> Loss:
    """-log sigmoid(beta x), where x is by how much the policy's log-odds of the pair exceed the reference's.

    Direct preference optimization (arXiv 2305.18290, eq. 7). `label_smoothing` is the chance that a pair is the
    wrong way round (conservative DPO, eq. 3 of its authors' note).
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
    """(x - 1 / (2 beta))^2, where x is DPO's, from means over each answer's tokens instead of sums.

    Identity preference optimization (arXiv 2310.12036, eq. 17; beta is its tau). Its authors take means, so that long
    answers do not weigh more.
    """
    chosen_ratio, rejected_ratio = chosen - reference_chosen, rejected - reference_rejected
    difference = chosen_ratio / chosen_lengths - rejected_ratio / rejected_lengths
    return _of_pairs((difference - 1 / (2 * beta)) ** 2, beta * chosen_ratio, beta * rejected_ratio)


def orpo(
    chosen: Tensor, rejected: Tensor, chosen_lengths: Tensor, rejected_lengths: Tensor, *, beta: float = 0.1
) -> Loss:
    """-m_c - beta log sigmoid(log odds(m_c) - log odds(m_r)) of the answers' mean log-probabilities m; no reference.

    Odds ratio preference optimization (arXiv 2403.07691, eq. 6 and 7; beta is its lambda). The first term is the mean
    over pairs of each chosen answer's mean; TRL's is the mean over all tokens of the batch, prompts included.
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
    """1 - sigmoid(beta (r - kl)) of answers with thumbs up, 1 - sigmoid(beta (kl - r)) of those with thumbs down.

    r is log(policy / reference) [N], `desirable` [N] is true for thumbs up, `kl` is from `kto_kl`. Kahneman-Tversky
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
    """KTO's estimate of the policy's distance from the reference, a scalar without gradient, never negative.

    From the log-probabilities of answers to other prompts than their own; TRL takes each prompt with the answer of the
    row before it.
    """
    return (policy - reference).mean().clamp_min(0).detach()


def bradley_terry(
    chosen: Tensor, rejected: Tensor, *, margin: Tensor | None = None, center_rewards_coefficient: float = 0.01
) -> Loss:
    """-log sigmoid(r_c - r_r - margin) + c (r_c + r_r)^2 of a reward model's rewards [N].

    Bradley-Terry; the second term keeps rewards near 0 (arXiv 2312.09244), and `margin` is as in Llama 2 (arXiv
    2307.09288).
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
    """log(1 - exp(x)) of x <= 0, precise at both ends (Maechler, 2012); that of a certainty, x = 0, stays finite."""
    x = x.clamp_max(-torch.finfo(x.dtype).eps)
    return torch.where(x > -math.log(2), torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))
