"""The chunked cross entropy equals torch's, with its gradients, whatever the chunks and the ignored targets."""

from __future__ import annotations

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
    """The squared logarithm of the denominator counts where a target does, with its gradients."""
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


def test_a_hopeless_prediction_is_large_and_not_infinite() -> None:
    head = torch.tensor([[1000.0], [0.0]])
    value = cross_entropy(torch.ones(1, 1, requires_grad=True), head, torch.tensor([1]))
    assert 87 < value < 88


def test_not_a_number_is_not_hidden() -> None:
    value = cross_entropy(torch.full((1, 1), torch.nan, requires_grad=True), torch.ones(2, 1), torch.tensor([1]))
    assert value.isnan()


def test_no_position_at_all_is_a_loss_of_zero() -> None:
    """A micro batch in which nothing is asked for, as masked rows without text are."""
    head = torch.randn(11, 4, requires_grad=True)
    loss = cross_entropy(torch.empty(0, 4, requires_grad=True), head, torch.empty(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert head.grad is not None
    assert not head.grad.any()
