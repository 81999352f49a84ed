"""The network's operations as plain formulas, for accelerators with fused kernels, and as the oracle of the tests.

`cpu.py` has the same three functions with gradients written by hand. `transformer.py` explains the letters in shapes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bessemer.model.config import ModelConfig
from bessemer.model.rope import Rotation, rotate


def norm_linear(x: Tensor, gain: Tensor, weight: Tensor, eps: float) -> Tensor:
    """rms_norm(x) weight^T, from [..., D] to [..., out]."""
    return F.linear(rms_norm(x, gain, eps), weight.to(x.dtype))


def attend(
    qkv: Tensor,
    gains: tuple[Tensor, Tensor] | None,
    rotation: Rotation,
    config: ModelConfig,
    *,
    causal: bool,
    mask: Tensor | None,
    window: int | None = None,
) -> Tensor:
    """The attention output [B, T, H d] for queries, keys and values [B, T, (H + 2 G) d].

    `gains` are the gains of the norms of queries and keys. `mask` [B, 1, T, T] is true if a query attends to a key; for
    causal attention, it must already be causal. Without a mask, causal attention is limited to `window` keys, including
    the query's own, if `window` is given.
    """
    q, k, v = queries_keys_values(qkv, gains, rotation, config)
    if window is not None and mask is None and window < q.shape[2]:
        return _windowed(q, k, v, window).transpose(1, 2).flatten(2)
    y = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal and mask is None, enable_gqa=k.shape[1] != q.shape[1]
    )
    return y.transpose(1, 2).flatten(2)


def _windowed(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Causal attention [B, H, T, d] over the last `window` keys.

    Queries are split into blocks of `window`. Each block attends to the keys of the same block and of the previous one.
    This takes T times 2 `window` products instead of T times T.
    """
    rows, _, length, _ = q.shape
    count = -(-length // window)

    def blocks(x: Tensor) -> Tensor:  # [B, heads, T, d] to [B count, heads, window, d]
        padded = F.pad(x, (0, 0, 0, count * window - length))
        return padded.view(rows, -1, count, window, x.shape[3]).transpose(1, 2)

    def with_those_before(x: Tensor) -> Tensor:
        here = blocks(x)
        return torch.cat((F.pad(here, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1], here), dim=3).flatten(0, 1)

    query = torch.arange(window, device=q.device)[:, None] + window
    key = torch.arange(2 * window, device=q.device)
    band = (key <= query) & (key > query - window)
    first = band & (key >= window)  # the first block has no previous block
    mask = torch.cat((first[None], band.expand(count - 1, -1, -1))).repeat(rows, 1, 1)[:, None]
    y = F.scaled_dot_product_attention(
        blocks(q).flatten(0, 1),
        with_those_before(k),
        with_those_before(v),
        attn_mask=mask,
        enable_gqa=k.shape[1] != q.shape[1],
    )
    return y.view(rows, count, *y.shape[1:]).transpose(1, 2).flatten(2, 3)[:, :, :length]


def queries_keys_values(
    qkv: Tensor, gains: tuple[Tensor, Tensor] | None, rotation: Rotation, config: ModelConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B, H, T, d], keys and values [B, G, T, d]. Queries and keys are normalised and rotated."""
    heads = [config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads]
    q, k, v = torch.split(qkv.view(*qkv.shape[:2], -1, config.head_dim), heads, dim=2)
    if gains is not None:
        q, k = rms_norm(q, gains[0], config.rms_norm_eps), rms_norm(k, gains[1], config.rms_norm_eps)
    return rotate(q, rotation).transpose(1, 2), rotate(k, rotation).transpose(1, 2), v.transpose(1, 2)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up, from [..., 2 I] to [..., I]."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * gain over the last dimension, computed in fp32 and returned in x's type."""
    return F.rms_norm(x.float(), (x.shape[-1],), gain.float(), eps).to(x.dtype)
