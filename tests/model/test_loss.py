"""The chunked cross entropy and its gradients equal torch's for any chunk size, ignored targets and number type."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch.nn import functional as F

from bessemer.model import loss
from bessemer.model.loss import IGNORED, cross_entropy


@pytest.fixture(params=[1, 40, 2**22], ids=["one row a chunk", "ragged chunks", "one chunk"])
def inputs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, ...]:
    monkeypatch.setattr(loss, "CHUNK_NUMBERS", request.param)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 7, 6, generator=generator).requires_grad_()
    head = torch.randn(13, 6, generator=generator).requires_grad_()
    targets = torch.randint(0, 13, (3, 7), generator=generator)
    targets[1, 2:4] = IGNORED
    return hidden, head, targets


@pytest.mark.parametrize(("device", "limit"), [("cpu", "CHUNK_NUMBERS"), ("meta", "ACCELERATOR_CHUNK_NUMBERS")])
def test_no_chunk_holds_more_logits_than_the_device_is_given(
    monkeypatch: pytest.MonkeyPatch, device: str, limit: str
) -> None:
    monkeypatch.setattr(loss, "CHUNK_NUMBERS", 1)
    monkeypatch.setattr(loss, "ACCELERATOR_CHUNK_NUMBERS", 1)
    monkeypatch.setattr(loss, limit, 4 * 13 + 5)
    x, head = torch.zeros(10, 6, device=device), torch.zeros(13, 6, device=device)
    shapes = [(rows, *logits.shape, *scratch.shape) for rows, logits, scratch in loss._chunks(x, head, x.dtype)]
    assert shapes == [(slice(a, b), b - a, 13, b - a, 13) for a, b in ((0, 4), (4, 8), (8, 10))]


def test_sum(inputs: tuple[torch.Tensor, ...]) -> None:
    hidden, head, targets = inputs
    ours = cross_entropy(hidden, head, targets)
    theirs = F.cross_entropy((hidden @ head.T).flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours * 0.3, [hidden, head]), torch.autograd.grad(theirs * 0.3, [hidden, head]), strict=True
    ):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(hidden, head, targets), theirs)


def test_sum_with_z_loss(inputs: tuple[torch.Tensor, ...]) -> None:
    """The z-loss term and its gradients cover exactly the targets that are not ignored."""
    hidden, head, targets = inputs
    ours = cross_entropy(hidden, head, targets, z_loss=0.1)
    logits = (hidden @ head.T).flatten(0, 1)
    theirs = F.cross_entropy(logits, targets.flatten(), reduction="sum")
    theirs = theirs + 0.1 * logits.logsumexp(-1)[targets.flatten() != IGNORED].square().sum()
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours * 0.3, [hidden, head]), torch.autograd.grad(theirs * 0.3, [hidden, head]), strict=True
    ):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(hidden, head, targets, z_loss=0.1), theirs)


def test_loss_per_position(inputs: tuple[torch.Tensor, ...]) -> None:
    hidden, head, targets = inputs
    ours = cross_entropy(hidden, head, targets, reduction="none")
    theirs = F.cross_entropy((hidden @ head.T).flatten(0, 1), targets.flatten(), reduction="none").view(3, 7)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    for a, b in zip(
        torch.autograd.grad(ours, [hidden, head], weights),
        torch.autograd.grad(theirs, [hidden, head], weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


PROBABILITIES = (1e-6, 0.01, 0.3, 0.5, 0.6, 0.9, 0.99, 0.996, 0.998, 0.9995, 0.99999, 1 - 1e-7)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2**-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("reduction", "z_loss"), [("sum", 0.0), ("sum", 1e-3), ("none", 0.0)])
@pytest.mark.parametrize("numbers", [1, 150, 2**22], ids=["one row a chunk", "ragged chunks", "one chunk"])
def test_targets_of_any_probability(
    monkeypatch: pytest.MonkeyPatch,
    numbers: int,
    reduction: Literal["sum", "none"],
    z_loss: float,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    """Every element of the gradient has the precision of its type, even if p rounds to 1.

    The head is the identity, so the hidden states are the logits and have the gradient of the logits.
    """
    monkeypatch.setattr(loss, "CHUNK_NUMBERS", numbers)
    size, targets = 16, torch.arange(len(PROBABILITIES)) % 5
    hidden = torch.zeros(len(PROBABILITIES), size)
    hidden += 0.1 * torch.randn(hidden.shape, generator=torch.Generator().manual_seed(0))
    for row, p in enumerate(PROBABILITIES):
        hidden[row, targets[row]] = math.log(p / (1 - p) * (size - 1))
    hidden, targets = torch.cat((hidden, hidden[-3:-2])).to(dtype), torch.cat((targets, torch.tensor([IGNORED])))
    ours = cross_entropy(
        hidden.requires_grad_(), torch.eye(size, dtype=dtype), targets, reduction=reduction, z_loss=z_loss
    )
    (found,) = torch.autograd.grad(ours.sum(), hidden)

    logits = hidden.detach().double()
    counted = targets != IGNORED
    exact = logits.softmax(-1)
    at_target = (torch.arange(len(PROBABILITIES)), targets[counted])
    log_sums = logits.logsumexp(-1, keepdim=True)
    slope = 2 * z_loss * log_sums * exact
    exact[at_target] = 0.0
    rest = exact.sum(-1)[counted]
    exact[at_target] = -rest
    exact = (exact + slope) * counted[:, None]
    torch.testing.assert_close(found.double(), exact, rtol=tolerance, atol=0.0)
    expected = -torch.log1p(-rest).sum() + z_loss * log_sums[counted].square().sum()
    assert ours.sum().item() == pytest.approx(expected.item(), rel=tolerance)


def test_losses_of_likely_targets_in_bf16_are_not_rounded_to_zero() -> None:
    hidden = torch.tensor([[8.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    value = cross_entropy(hidden, torch.eye(2), torch.tensor([0]))
    assert value.item() == pytest.approx(math.log1p(math.exp(-8)), rel=2**-8)


def test_a_hopeless_prediction_is_large_and_not_infinite() -> None:
    head = torch.tensor([[1000.0], [0.0]])
    value = cross_entropy(torch.ones(1, 1, requires_grad=True), head, torch.tensor([1]))
    assert 87 < value < 88


def test_not_a_number_is_not_hidden() -> None:
    value = cross_entropy(torch.full((1, 1), torch.nan, requires_grad=True), torch.ones(2, 1), torch.tensor([1]))
    assert value.isnan()


def test_no_position_at_all_is_a_loss_of_zero() -> None:
    """A micro batch may have no targets, for example masked rows without text."""
    head = torch.randn(11, 4, requires_grad=True)
    loss = cross_entropy(torch.empty(0, 4, requires_grad=True), head, torch.empty(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert head.grad is not None
    assert not head.grad.any()
