"""Cross entropy from hidden states, without ever holding all the logits.

The logits of a batch are its largest tensor by far ([16384, 32768] in fp32 are 2 GiB, and their gradient as
much). Here the positions go through the head in chunks; of each chunk the loss and, at once, the gradients with
respect to hidden states and head are computed, and its logits are dropped (the idea of Liger Kernel, arXiv
2410.10989). For the summed loss this costs no extra arithmetic: three products, as without chunks. For a loss per
position the gradient has to wait for its weights, so the logits are computed twice: four products.

Memory: one chunk of logits (`CHUNK_NUMBERS` numbers) in the compute type and in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

IGNORED = -100
"""A target that counts nothing, as in `torch.nn.functional.cross_entropy`."""

CHUNK_NUMBERS = 2**22
"""Logits held at once; 4 M in fp32 are 16 MiB, which stays near the processor."""


def cross_entropy(
    hidden: Tensor, head: Tensor, targets: Tensor, *, reduction: Literal["sum", "none"] = "sum"
) -> Tensor:
    """-log softmax(hidden head^T)[target] in nats, fp32: summed, or one a position in the shape of `targets`.

    `hidden` [..., D], `head` [V, D] in any floating type, `targets` [...] in 0 .. V - 1 or `IGNORED`.
    """
    x, flat = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
    if reduction == "sum":
        total: Tensor = _SummedLoss.apply(x, head, flat)  # type: ignore[no-untyped-call]
        return total
    losses: Tensor = _LossPerPosition.apply(x, head, flat)  # type: ignore[no-untyped-call]
    return losses.view(targets.shape)


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        weight = head.to(x.dtype)
        need_x, need_head, _ = ctx.needs_input_grad
        x_gradient = torch.empty_like(x) if need_x else None
        head_gradient = torch.zeros(weight.shape, dtype=torch.float32, device=x.device) if need_head else None
        total = torch.zeros((), dtype=torch.float32, device=x.device)
        for rows in _chunks(x, weight):
            probabilities, losses = _softmax_and_losses(x[rows], weight, targets[rows])
            total += losses.sum()
            if x_gradient is not None or head_gradient is not None:
                logit_gradient = _logit_gradient(probabilities, targets[rows]).to(x.dtype)
                if x_gradient is not None:
                    torch.mm(logit_gradient, weight, out=x_gradient[rows])
                if head_gradient is not None:
                    head_gradient += logit_gradient.T @ x[rows]
        ctx.save_for_backward(x_gradient, head_gradient)
        ctx.head_dtype = head.dtype
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x_gradient, head_gradient = ctx.saved_tensors
        return (
            None if x_gradient is None else x_gradient * upstream.to(x_gradient.dtype),
            None if head_gradient is None else (head_gradient * upstream).to(ctx.head_dtype),
            None,
        )


class _LossPerPosition(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        weight = head.to(x.dtype)
        losses = torch.empty(len(x), dtype=torch.float32, device=x.device)
        for rows in _chunks(x, weight):
            losses[rows] = _softmax_and_losses(x[rows], weight, targets[rows])[1]
        ctx.save_for_backward(x, head, targets)
        return losses

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        x, head, targets = ctx.saved_tensors
        weight = head.to(x.dtype)
        x_gradient = torch.empty_like(x)
        head_gradient = torch.zeros(weight.shape, dtype=torch.float32, device=x.device)
        for rows in _chunks(x, weight):
            probabilities, _ = _softmax_and_losses(x[rows], weight, targets[rows])
            gradient = _logit_gradient(probabilities, targets[rows]).mul_(upstream[rows, None]).to(x.dtype)
            torch.mm(gradient, weight, out=x_gradient[rows])
            head_gradient += gradient.T @ x[rows]
        return x_gradient, head_gradient.to(head.dtype), None


def _chunks(x: Tensor, weight: Tensor) -> Iterator[slice]:
    size = max(1, CHUNK_NUMBERS // len(weight))
    return (slice(start, start + size) for start in range(0, len(x), size))


def _softmax_and_losses(x: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities [n, V] and losses [n] (0 where ignored), both fp32."""
    logits = (x @ weight.T).float()
    log_total = torch.logsumexp(logits, dim=-1, keepdim=True)
    chosen = logits.gather(1, targets.clamp_min(0)[:, None])
    losses = (log_total - chosen).squeeze(1).masked_fill_(targets == IGNORED, 0.0)
    return logits.sub_(log_total).exp_(), losses


def _logit_gradient(probabilities: Tensor, targets: Tensor) -> Tensor:
    """d loss / d logits, written over the probabilities: p - onehot(target), 0 where ignored."""
    one = torch.ones_like(targets[:, None], dtype=probabilities.dtype)
    probabilities.scatter_add_(1, targets.clamp_min(0)[:, None], -one)
    return probabilities.mul_((targets != IGNORED)[:, None])
