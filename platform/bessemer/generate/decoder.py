"""The network of `model/transformer.py` for generation, with as few operations as possible.

A single token needs so little arithmetic that the overhead of each operation dominates. The decoder needs half as many
operations as the general network: it normalises and rotates queries and keys together, multiplies the constants of a
norm into its gain, and fuses residual additions into the matrix products. Weights that are already in the compute type
are shared with the model, not copied. A norm is x / hypot(|x|, sqrt(D eps)) * (gain sqrt(D)).

Letters in shapes: B rows, T tokens each, D hidden_size, H query heads, G key-value heads, d head_dim, V vocab_size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bessemer.generate.sampling import in_rows
from bessemer.model import rope
from bessemer.model.cache import KeyValueCache
from bessemer.model.transformer import Block, Transformer

_FEW, _WIDE = 64, 1024
"""Up to `_FEW` rows and from `_WIDE` outputs, a product on a CPU is faster with the weight on the left."""


class Decoder:
    """A model prepared for decoding. Create a new decoder after the model's weights change."""

    def __init__(self, model: Transformer) -> None:
        self._config = model.config
        self._dtype = model.compute_dtype
        self._embedding = model.embed_tokens
        self._layers = [_Layer(block, self._dtype) for block in model.blocks()]
        self._norm = _Norm(model.norm, self._config.rms_norm_eps, self._dtype)
        self._head = model.head().to(self._dtype)
        positions = self._config.max_position_embeddings
        cosine, sine = (x[0] for x in rope.rotation(self._config, positions, None, self._embedding.device))
        self._cosine = torch.cat((cosine, cosine), dim=-1).to(self._dtype)
        self._sine = torch.cat((sine.neg(), sine), dim=-1).to(self._dtype)

    @torch.inference_mode()
    def step(self, tokens: Tensor, cache: KeyValueCache, at: Sequence[int] | None = None) -> Tensor:
        """Logits [B, V] after `tokens` [B, T], or [B] for one token per row. The tokens continue the rows of `cache`.

        The logits are those after the last token of each row, or after the token at index `at` of the row. The result
        may be column-major.
        """
        rows, count = len(tokens), tokens[0].numel()
        _, mask = cache.open(count)
        rotation = self._cosine[cache.slots], self._sine[cache.slots]
        x = F.embedding(tokens.flatten(), self._embedding).to(self._dtype)
        for number, layer in enumerate(self._layers):
            x = layer(x, count, rotation, mask, cache, number)
        if count > 1:
            last = [count - 1] * rows if at is None else at
            x = x.view(rows, count, -1)[range(rows), last]
        return _product(self._norm(x), self._head)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """x [B, in] weight^T as [B, out], which may be column-major.

    With the weight on the left, a CPU does not have to rearrange it. For a weight [8192, 256] in bf16, this takes 77 us
    instead of 171 us for 16 rows, and 80 us instead of 149 us for one row.
    """
    if len(x) == 1 and x.device.type == "cpu":
        return torch.mv(weight, x[0])[None]
    if len(x) <= _FEW and len(weight) >= _WIDE and x.device.type == "cpu":
        return torch.mm(weight, x.T).T
    return F.linear(x, weight)


def _add_product(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """x [B, out] + y weight^T."""
    if len(x) == 1 and x.device.type == "cpu":
        return torch.addmv(x[0], weight, y[0])[None]
    return torch.addmm(x, y, weight.T)


class _Norm:
    def __init__(self, gain: Tensor, eps: float, dtype: torch.dtype) -> None:
        size = gain.shape[-1]
        self._gain = (gain.detach().float() * math.sqrt(size)).to(dtype)
        self._floor = torch.full((), math.sqrt(size * eps), dtype=dtype, device=gain.device)

    def __call__(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x / torch.hypot(norm, self._floor) * self._gain


class _Layer:
    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        c = block.config
        self._query_heads, self._head_dim = c.num_attention_heads, c.head_dim
        self._turning_heads = c.num_attention_heads + c.num_key_value_heads
        self._attention_norm = _Norm(block.attention_norm, c.rms_norm_eps, dtype)
        self._feed_forward_norm = _Norm(block.feed_forward_norm, c.rms_norm_eps, dtype)
        self._head_norm: _Norm | None = None
        if c.qk_norm:
            gains = [
                block.query_norm.expand(c.num_attention_heads, -1),
                block.key_norm.expand(c.num_key_value_heads, -1),
            ]
            self._head_norm = _Norm(torch.cat(gains), c.rms_norm_eps, dtype)
        self._qkv, self._gate_up = (block.matrix(name).detach().to(dtype) for name in ("qkv", "gate_up"))
        self._out, self._down = (block.matrix(name).detach().to(dtype) for name in ("out", "down"))

    def __call__(
        self,
        x: Tensor,
        count: int,
        rotation: tuple[Tensor, Tensor],
        mask: Tensor | None,
        cache: KeyValueCache,
        number: int,
    ) -> Tensor:
        """The layer's output [B T, D] for x [B T, D], with `count` = T tokens per row."""
        heads = in_rows(_product(self._attention_norm(x), self._qkv)).view(len(x) // count, count, -1, self._head_dim)
        turning, values = heads.tensor_split((self._turning_heads,), dim=2)
        if self._head_norm is not None:
            turning = self._head_norm(turning)
        turned = torch.addcmul(turning * rotation[0], turning.roll(self._head_dim // 2, -1), rotation[1])
        queries, keys = turned.transpose(1, 2).tensor_split((self._query_heads,), dim=1)
        y = cache.attend(number, queries, keys, values.transpose(1, 2), mask)
        x = _add_product(x, y.flatten(0, 1), self._out)
        gate, up = _product(self._feed_forward_norm(x), self._gate_up).chunk(2, dim=-1)
        return _add_product(x, F.silu(gate) * up, self._down)
