"""Cross entropy from hidden states, without all logits in memory at a time.

The logits are by far the largest tensor of a batch: [16384, 32768] in fp32 take 2 GiB, and so does their gradient. This
module multiplies hidden states and head in chunks of positions. Per chunk, it computes the loss and immediately the
gradients with respect to hidden states and head, and then discards the logits (the method of Liger Kernel, arXiv
2410.10989). For the summed loss, this costs no additional arithmetic: three matrix products, as without chunks. For a
loss per position, the gradient depends on upstream weights that are known only in the backward pass. The logits are
then computed twice, which makes four products.

Memory: two chunks of logits (`CHUNK_NUMBERS` numbers each) in the compute type.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

IGNORED = -100
"""A target without loss, as in `torch.nn.functional.cross_entropy`."""

CHUNK_NUMBERS = 2**22
"""Logits per chunk on a CPU; 4 M in bf16 take 8 MiB, which fits in the processor's cache."""
ACCELERATOR_CHUNK_NUMBERS = 2**27
"""Logits per chunk on an accelerator, which needs large products to be efficient."""


def cross_entropy(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    *,
    reduction: Literal["sum", "none"] = "sum",
    z_loss: float = 0.0,
) -> Tensor:
    """-log softmax(hidden head^T)[target] in nats, fp32: the sum, or one value per position in the shape of `targets`.

    `hidden` is [..., D] and `head` [V, D], in any floating type. `targets` [...] are in 0 .. V - 1 or `IGNORED`. With
    `z_loss`, the sum also includes `z_loss` * (log sum exp(logits))^2 for every target, which keeps logits from
    drifting (PaLM, arXiv 2204.02311, section 5).
    """
    x, flat = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
    if reduction == "sum":
        total: Tensor = _SummedLoss.apply(x, head, flat, z_loss)  # type: ignore[no-untyped-call]
        return total
    assert not z_loss, "a loss per position is for measurement, which leaves out z-loss"
    losses: Tensor = _LossPerPosition.apply(x, head, flat)  # type: ignore[no-untyped-call]
    return losses.view(targets.shape)


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, targets: Tensor, z_loss: float) -> Tensor:
        weight = head.to(x.dtype)
        total = torch.zeros((), dtype=torch.float32, device=x.device)
        if not any(ctx.needs_input_grad):
            for rows, logits, scratch in _chunks(x, weight, torch.float32):
                total += _losses(torch.softmax(logits, -1, torch.float32, out=scratch), targets[rows]).sum()
                if z_loss:
                    total += z_loss * _log_sums(logits, targets[rows]).square().sum()
            return total
        x_gradient, head_gradient = _gradient_buffers(x, weight, frozen=not ctx.needs_input_grad[1])
        for rows, logits, scratch in _chunks(x, weight, x.dtype):
            probabilities = torch.softmax(logits, -1, out=scratch)
            slope = None
            if z_loss:
                log_sums = _log_sums(logits, targets[rows])
                total += z_loss * log_sums.square().sum()
                slope = probabilities * (2 * z_loss * log_sums)[:, None].to(probabilities.dtype)
            losses, logit_gradient = _losses_and_gradient(probabilities, targets[rows])
            total += losses.sum()
            if slope is not None:
                logit_gradient += slope
            torch.mm(logit_gradient, weight, out=x_gradient[rows])
            if head_gradient is not None:
                head_gradient += logit_gradient.T @ x[rows]
        ctx.save_for_backward(x_gradient, head_gradient)
        ctx.head_dtype = head.dtype
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        x_gradient, head_gradient = ctx.saved_tensors
        if head_gradient is not None:
            head_gradient = (head_gradient * upstream).to(ctx.head_dtype)
        return x_gradient * upstream.to(x_gradient.dtype), head_gradient, None, None


class _LossPerPosition(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(x, head, targets)
        losses = torch.empty(len(x), dtype=torch.float32, device=x.device)
        for rows, logits, scratch in _chunks(x, head.to(x.dtype), torch.float32):
            losses[rows] = _losses(torch.softmax(logits, -1, torch.float32, out=scratch), targets[rows])
        return losses

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, head, targets = ctx.saved_tensors
        weight = head.to(x.dtype)
        x_gradient, head_gradient = _gradient_buffers(x, weight, frozen=not ctx.needs_input_grad[1])
        for rows, logits, scratch in _chunks(x, weight, x.dtype):
            _, logit_gradient = _losses_and_gradient(torch.softmax(logits, -1, out=scratch), targets[rows])
            logit_gradient *= upstream[rows, None].to(x.dtype)
            torch.mm(logit_gradient, weight, out=x_gradient[rows])
            if head_gradient is not None:
                head_gradient += logit_gradient.T @ x[rows]
        return x_gradient, None if head_gradient is None else head_gradient.to(head.dtype), None


def _gradient_buffers(x: Tensor, weight: Tensor, *, frozen: bool) -> tuple[Tensor, Tensor | None]:
    """Buffers for the gradients of the hidden states and of the head. A frozen head has None."""
    head = None if frozen else torch.zeros(weight.shape, dtype=torch.float32, device=x.device)
    return torch.empty_like(x), head


def _chunks(x: Tensor, weight: Tensor, scratch_dtype: torch.dtype) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yields (positions, their logits, a scratch buffer of the same shape). The next chunk reuses both buffers."""
    numbers = CHUNK_NUMBERS if x.device.type == "cpu" else ACCELERATOR_CHUNK_NUMBERS
    size = max(1, min(len(x), numbers // len(weight)))
    buffer = torch.empty(size, len(weight), dtype=x.dtype, device=x.device)
    scratch = torch.empty(size, len(weight), dtype=scratch_dtype, device=x.device)
    for start in range(0, len(x), size):
        rows = slice(start, min(start + size, len(x)))
        logits = torch.mm(x[rows], weight.T, out=buffer[: rows.stop - start])
        yield rows, logits, scratch[: rows.stop - start]


def _losses(probabilities: Tensor, targets: Tensor) -> Tensor:
    """-log p of each target [n] in fp32; 0 if ignored. The largest value is 87, for the smallest normal p."""
    losses = _surprise(probabilities[_places(targets)].float())
    return losses.masked_fill_(targets == IGNORED, 0.0)


def _losses_and_gradient(probabilities: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The losses, and d loss / d logits [n, V], which is softmax(logits) - onehot(target), or 0 if ignored.

    The gradient overwrites `probabilities`. For a probable target, p - 1 is computed as minus the sum of the other
    probabilities. In bf16, numbers just below 1 are 2^-8 apart. The error of p - 1 would therefore reach the size of
    the value itself from p = 0.996 on.
    """
    places = _places(targets)
    chosen = probabilities[places].float()
    rest = 1 - chosen
    # Only these rows need the sum. On an accelerator, selecting them would make the host wait for the device.
    likely = (chosen > 0.5).nonzero()[:, 0] if chosen.device.type == "cpu" else slice(None)
    others = probabilities[likely]
    others[_places(targets[likely])] = 0.0
    rest[likely] = others.sum(-1, dtype=torch.float32)
    probabilities[places] = -rest.to(probabilities.dtype)  # `scatter_` would copy the whole chunk if bf16 on a CPU
    losses = torch.where(rest < 0.5, -torch.log1p(-rest), _surprise(chosen))
    ignored = targets == IGNORED
    if ignored.device.type != "cpu" or ignored.any():
        probabilities.masked_fill_(ignored[:, None], 0.0)
        losses.masked_fill_(ignored, 0.0)
    return losses, probabilities


def _surprise(probabilities: Tensor) -> Tensor:
    """-log p; finite even if p is 0."""
    return probabilities.clamp_min(torch.finfo(torch.float32).tiny).log().neg()


def _log_sums(logits: Tensor, targets: Tensor) -> Tensor:
    """log sum exp(logits) [n] in fp32, 0 where ignored."""
    return torch.logsumexp(logits.float(), -1).masked_fill_(targets == IGNORED, 0.0)


def _places(targets: Tensor) -> tuple[Tensor, Tensor]:
    return torch.arange(len(targets), device=targets.device), targets.clamp_min(0)
