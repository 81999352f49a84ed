"""Tests that losses and their gradients equal TRL's and have the properties of their formulas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bessemer.align import policy_losses, preference_losses
from bessemer.train.objectives.base import Loss

VECTORS = json.loads(Path(__file__).with_name("trl_vectors.json").read_text())
FUNCTIONS = {
    name: getattr(module, name)
    for module in (preference_losses, policy_losses)
    for name in {case["function"] for case in VECTORS["cases"]}
    if hasattr(module, name)
}


def tensor(values: Any) -> Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: f"{case['function']} {case['settings']}")
def test_values_and_gradients_are_those_of_trl(case: dict[str, Any]) -> None:
    inputs = {name: tensor(values) for name, values in case["inputs"].items()}
    for name in case["gradients"]:
        inputs[name].requires_grad_()
    found = FUNCTIONS[case["function"]](**inputs, **case["settings"])
    if isinstance(found, Loss):
        found = found.sum / found.weight
    if isinstance(found, tuple):
        found = torch.stack(found)
    expected = tensor(case["value"])
    if case["function"] == "whitened":  # TRL also whitens padding
        found, expected = found[inputs["mask"]], expected[inputs["mask"]]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    leaves = [inputs[name] for name in case["gradients"]]
    if leaves:
        for gradient, wanted in zip(torch.autograd.grad(found, leaves), case["gradients"].values(), strict=True):
            torch.testing.assert_close(gradient, tensor(wanted), rtol=1e-4, atol=1e-6)


def tokens(rows: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(rows, 7, generator=generator) * 3
    return {
        "logprobs": old + torch.randn(rows, 7, generator=generator) * 0.4,
        "old_logprobs": old,
        "advantages": torch.randn(rows, generator=generator),
        "mask": torch.arange(7) < torch.randint(1, 8, (rows, 1), generator=generator),
    }


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo"])
@given(seed=st.integers(0, 1000), cut=st.integers(1, 5))
def test_a_loss_does_not_depend_on_how_the_batch_is_cut(loss_type: policy_losses.LossType, seed: int, cut: int) -> None:
    """Sums and weights add up over micro-batches. Means of means would not."""
    batch = tokens(6, seed)

    def loss(rows: slice) -> Loss:
        part = {name: x[rows] for name, x in batch.items()}
        return policy_losses.policy_loss(**part, loss_type=loss_type, max_completion_length=7)

    whole, first, second = loss(slice(None)), loss(slice(cut)), loss(slice(cut, None))
    torch.testing.assert_close(whole.sum, first.sum + second.sum, rtol=1e-5, atol=1e-5)
    assert whole.weight == first.weight + second.weight


def test_what_is_not_of_a_completion_counts_nothing() -> None:
    batch = tokens(4, 3)
    beyond = {name: x.masked_fill(~batch["mask"], -1e30) if x.ndim == 2 else x for name, x in batch.items()}
    beyond["mask"], beyond["old_logprobs"] = batch["mask"], batch["old_logprobs"]
    settings = {"beta": 0.1, "reference_logprobs": batch["old_logprobs"]}
    assert policy_losses.policy_loss(**batch, **settings).sum == policy_losses.policy_loss(**beyond, **settings).sum


def test_the_first_update_is_the_plain_policy_gradient() -> None:
    """If policy and old policy are equal, the gradient is the advantage times the gradient of the log-probability."""
    batch = tokens(4, 5)
    logprobs = batch["old_logprobs"].clone().requires_grad_()
    loss = policy_losses.policy_loss(logprobs, batch["old_logprobs"], batch["advantages"], batch["mask"])
    (gradient,) = torch.autograd.grad(loss.sum, logprobs)
    torch.testing.assert_close(gradient, -batch["advantages"][:, None] * batch["mask"])


@pytest.mark.parametrize(("advantage", "bounded"), [(-1.0, True), (1.0, True), (-1.0, False)])
def test_the_dual_clip_bounds_the_loss_of_a_bad_token_that_became_likely(advantage: float, bounded: bool) -> None:
    one = torch.ones(1, 1)
    loss = policy_losses.policy_loss(10 * one, one, tensor([advantage]), one, delta=3.0 if bounded else None)
    expected = {(-1.0, True): 3.0, (1.0, True): -1.28, (-1.0, False): torch.tensor(9.0).exp().item()}
    assert loss.sum.item() == pytest.approx(expected[advantage, bounded])


def test_estimators_of_kl_agree_with_the_exact_value() -> None:
    """Under the policy, the means of k1 and k3 are the exact KL divergence, and the gradient of k2 is its gradient."""
    generator = torch.Generator().manual_seed(0)
    logits, reference = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    log_p, log_q = logits.log_softmax(0), reference.log_softmax(0)
    exact = (log_p.exp() * (log_p - log_q)).sum()
    for estimator in ("k1", "k3"):
        mean = (log_p.exp() * policy_losses.kl(log_p, log_q, estimator)).sum()
        torch.testing.assert_close(mean, exact)
    (wanted,) = torch.autograd.grad(exact, logits, retain_graph=True)
    loss = (log_p.exp().detach() * policy_losses.kl(log_p, log_q, "k2")).sum()
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], wanted)


def test_groups_without_spread_are_found() -> None:
    rewards = tensor([0.1, 0.1, 0.1, 1.0, 0.0, 0.0, torch.nan, 2.0, 2.0, torch.nan, torch.nan, torch.nan])
    assert policy_losses.has_spread(rewards, 3).tolist() == [False, True, False, False]


def test_with_gamma_and_lambda_one_a_token_is_worth_what_follows() -> None:
    rewards, values = tensor([[0.0, 1.0, 4.0]]), tensor([[0.5, 0.25, 7.0]])
    mask = tensor([[True, True, True]])
    advantages, returns = policy_losses.generalised_advantages(rewards, values, mask)
    assert returns.tolist() == [[5.0, 5.0, 4.0]]
    assert advantages.tolist() == (returns - values).tolist()


def test_preference_losses_move_the_right_way() -> None:
    """The gradient of every loss raises the chosen answer and lowers the rejected one."""
    chosen, rejected = (tensor([-9.0, -12.0]).requires_grad_() for _ in range(2))
    reference, counts = tensor([-10.0, -10.0]), tensor([4, 5])
    losses = [
        preference_losses.dpo(chosen, rejected, reference, reference),
        preference_losses.ipo(chosen, rejected, reference, reference, counts, counts),
        preference_losses.orpo(chosen, rejected, counts, counts),
        preference_losses.bradley_terry(chosen, rejected, center_rewards_coefficient=0.0),
    ]
    for loss in losses:
        up, down = torch.autograd.grad(loss.sum, (chosen, rejected))
        assert (up < 0).all()
        assert (down > 0).all()


def test_a_model_that_is_certain_keeps_finite_gradients() -> None:
    """Memorised answers have the log-probability 0 in fp32, so their odds are infinite."""
    chosen, rejected = tensor([0.0, -1e-9]).requires_grad_(), tensor([-3.0, 0.0]).requires_grad_()
    loss = preference_losses.orpo(chosen, rejected, tensor([2, 2]), tensor([2, 2]))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss.sum, (chosen, rejected)))
