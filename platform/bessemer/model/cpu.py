"""The network's operations for the CPU, with gradients written by hand.

Why: on a CPU with matrix units the products of a small model take a third of a training step; the rest is memory
traffic. PyTorch's norm, rotary positions and gated unit are a dozen passes over the activations each way, and the
backward pass of its fused attention is several times slower than the products it consists of. Here every
intermediate is written once, in the compute type, into a buffer that the next operation wants, and attention is
products and softmaxes over blocks of queries that skip the keys no query of the block may see.

Measured on two cores with AMX (`tests/benchmarks/bench_train_step.py`), 4 layers of width 256, T = 512, bf16: the
whole training step is about twice as fast as with `plain.py`.

In bf16 the scale of a normalised row is rounded to bf16 like the row itself; in fp32 results equal `plain.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bessemer.model.config import ModelConfig
from bessemer.model.rope import Rotation

BLOCK_NUMBERS = 2**21
"""Attention weights held at once, at most; 2 M in bf16 are 4 MiB."""
MINIMUM_BLOCK = 64
"""Fewest queries in a block, below which the products are too thin."""


def norm_linear(x: Tensor, gain: Tensor, weight: Tensor, eps: float) -> Tensor:
    """rms_norm(x) weight^T: [..., D] to [..., out]. The gain scales the weight instead of the rows."""
    y: Tensor = _NormLinear.apply(x.flatten(0, -2), gain, weight, eps)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], -1)


def attend(
    qkv: Tensor,
    gains: tuple[Tensor, Tensor] | None,
    rotation: Rotation,
    config: ModelConfig,
    *,
    causal: bool,
    mask: Tensor | None,
) -> Tensor:
    """Attention's output [B, T, H d] from queries, keys and values [B, T, (H + 2 G) d]; see `plain.attend`."""
    heads = [config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads]
    q, k, v = torch.split(qkv.view(*qkv.shape[:2], -1, config.head_dim), heads, dim=2)
    query_gain, key_gain = gains or (None, None)
    q = _NormRotate.apply(q, query_gain, rotation, config.head_dim**-0.5, config.rms_norm_eps)  # type: ignore[no-untyped-call]
    k = _NormRotate.apply(k, key_gain, rotation, 1.0, config.rms_norm_eps)  # type: ignore[no-untyped-call]
    y: Tensor = _Attention.apply(q, k, v.transpose(1, 2), causal, mask)  # type: ignore[no-untyped-call]
    return y.transpose(1, 2).flatten(2)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up: [..., 2 I] to [..., I]."""
    y: Tensor = _SwiGLU.apply(gate_up)  # type: ignore[no-untyped-call]
    return y


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = _inverse_rms(x, eps)
        unit = x * scale
        scaled_weight = (weight * gain).to(x.dtype)
        ctx.save_for_backward(unit, scale, scaled_weight, gain, weight)
        return unit @ scaled_weight.T

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        unit, scale, scaled_weight, gain, weight = ctx.saved_tensors
        weight_gradient = (upstream.T @ unit).to(weight.dtype)
        gain_gradient = (weight_gradient * weight).sum(0)
        x_gradient = upstream @ scaled_weight
        along = (x_gradient * unit).sum(-1, keepdim=True).div_(unit.shape[-1])
        x_gradient.addcmul_(unit, along, value=-1).mul_(scale)
        return x_gradient, gain_gradient, weight_gradient.mul_(gain), None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        active = torch.nn.functional.silu(gate)
        ctx.save_for_backward(gate_up, active)
        return active * up

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        gate_up, active = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        gradient = torch.empty_like(gate_up)
        gate_gradient, up_gradient = gradient.chunk(2, dim=-1)
        torch.mul(upstream, active, out=up_gradient)
        torch.mul(upstream, up, out=gate_gradient)
        torch.ops.aten.silu_backward.grad_input(gate_gradient, gate, grad_input=gate_gradient)
        return gradient


class _NormRotate(torch.autograd.Function):
    """x [B, T, heads, d] to `factor` * rotate(rms_norm(x)) [B, heads, T, d]; without a gain, no norm."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, rotation: Rotation, factor: float, eps: float) -> Tensor:
        scale = None
        if gain is not None:
            scale = _inverse_rms(x, eps)
            x = x * scale
        ctx.save_for_backward(x, scale, gain)
        ctx.rotation, ctx.factor = rotation, factor
        return _rotated(x, rotation, factor, gain).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        unit, scale, gain = ctx.saved_tensors
        cosine, sine = ctx.rotation
        gradient = _rotated(upstream.transpose(1, 2), (cosine, -sine), ctx.factor, None)
        if gain is None:
            return gradient, None, None, None, None
        along = gradient * unit
        gain_gradient = along.flatten(0, 2).sum(0).to(gain.dtype)
        along = (along @ (gain / len(gain)).to(along.dtype))[..., None]
        gradient.mul_(gain.to(gradient.dtype)).addcmul_(unit, along, value=-1).mul_(scale)
        return gradient, gain_gradient, None, None, None


class _Attention(torch.autograd.Function):
    """softmax(q k^T) v, with q [B, H, T, d] (already scaled), k and v [B, G, T, d], to [B, H, T, d]."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool, mask: Tensor | None) -> Tensor:
        ctx.save_for_backward(q, k, v, mask)
        ctx.causal = causal
        y = torch.empty_like(q, memory_format=torch.contiguous_format)
        q, k, v, rows = _by_head(q, q), _by_head(k, q), _by_head(v, q), y.flatten(0, 1)
        for queries, keys, weights in _blocks(q, k, causal, mask):
            rows[:, queries] = weights @ v[:, keys]
        return y

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q4, k4, v4, mask = ctx.saved_tensors
        q, k, v, upstream = (_by_head(x, q4) for x in (q4, k4, v4, upstream))
        q_gradient, k_gradient, v_gradient = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        buffer = torch.empty(0)
        for queries, keys, weights in _blocks(q, k, ctx.causal, mask):
            buffer = torch.empty_like(weights) if buffer.numel() < weights.numel() else buffer
            change = buffer.flatten()[: weights.numel()].view(weights.shape)
            v_gradient[:, keys].baddbmm_(weights.mT, upstream[:, queries])
            torch.bmm(upstream[:, queries], v[:, keys].mT, out=change)
            torch.ops.aten._softmax_backward_data.out(change, weights, -1, weights.dtype, grad_input=weights)
            q_gradient[:, queries] = weights @ k[:, keys]
            k_gradient[:, keys].baddbmm_(weights.mT, q[:, queries])
        return q_gradient.view(q4.shape), _group_sum(k_gradient, k4), _group_sum(v_gradient, v4), None, None


def _by_head(x: Tensor, like: Tensor) -> Tensor:
    """x [B, H or G, T, d] as [B H, T, d], its heads repeated to as many as `like` has."""
    groups = like.shape[1] // x.shape[1]
    return x[:, :, None].expand(-1, -1, groups, -1, -1).reshape(-1, *x.shape[2:])


def _group_sum(x: Tensor, like: Tensor) -> Tensor:
    """x [B H, T, d] summed over the heads that share a key: [B, G, T, d], the shape of `like`."""
    groups = x.view(*like.shape[:2], -1, *like.shape[2:]).unbind(2)
    return functools.reduce(torch.add, groups)  # several times faster than `sum` over a middle dimension


def _blocks(q: Tensor, k: Tensor, causal: bool, mask: Tensor | None) -> Iterator[tuple[slice, slice, Tensor]]:
    """(queries, keys they may see, attention weights [B H, queries, keys]); the weights live until the next block."""
    heads, length, _ = q.shape
    size = min(length, max(MINIMUM_BLOCK, BLOCK_NUMBERS // (heads * length)))
    scores, weights = (torch.empty(heads * size * length, dtype=q.dtype) for _ in range(2))
    ahead = torch.full((size, size), -math.inf, dtype=q.dtype).triu_(1) if causal and mask is None else None
    for start in range(0, length, size):
        queries = slice(start, min(start + size, length))
        keys = slice(0, queries.stop if causal else length)
        shape = (heads, queries.stop - start, keys.stop)
        block, result = scores[: math.prod(shape)].view(shape), weights[: math.prod(shape)].view(shape)
        torch.bmm(q[:, queries], k[:, keys].mT, out=block)
        if mask is not None:
            hidden = ~mask[:, :, queries, keys]
            block.view(len(mask), -1, *shape[1:]).masked_fill_(hidden, -math.inf)
        elif ahead is not None:
            block[:, :, start:].add_(ahead[: shape[1], : shape[1]])
        yield queries, keys, torch.softmax(block, -1, out=result)


def _rotated(x: Tensor, rotation: Rotation, factor: float, gain: Tensor | None) -> Tensor:
    """factor * rotate(x * gain) for x [B, T, heads, d]; gain and factor are worked into the small tables."""
    cosine, sine = (table * factor for table in rotation)
    first_gain, second_gain = (1.0, 1.0) if gain is None else gain.float().chunk(2)
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    (first, second), (first_out, second_out) = x.chunk(2, dim=-1), y.chunk(2, dim=-1)
    torch.mul(first, (cosine * first_gain).to(x.dtype), out=first_out)
    first_out.addcmul_(second, (sine * second_gain).to(x.dtype), value=-1)
    torch.mul(second, (cosine * second_gain).to(x.dtype), out=second_out)
    second_out.addcmul_(first, (sine * first_gain).to(x.dtype))
    return y


def _inverse_rms(x: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean(x^2) + eps) over the last dimension, kept, in x's type."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).float()
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)
