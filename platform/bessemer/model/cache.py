"""Keys and values of the tokens seen so far, so that a new token costs one position, not the whole text.

Memory is taken once: 2 L B G S d numbers for S positions. Every row has its own length, so prompts of unequal
length share a batch without padding between prompt and answer: a row's token t always sits in slot t. A longer
row's padding slots hold garbage until they are written; the mask hides them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bessemer.model.config import ModelConfig


class KeyValueCache:
    """Room for `capacity` positions in each of `rows` rows."""

    def __init__(
        self, config: ModelConfig, rows: int, capacity: int, *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        shape = (config.num_hidden_layers, rows, config.num_key_value_heads, capacity, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self._longest = 0
        self._pending = torch.empty(0)

    def next_positions(self, count: int) -> Tensor:
        """Positions [B, count] that the next `count` tokens of each row take."""
        return self.lengths[:, None] + torch.arange(count, device=self.lengths.device)

    def mask(self, positions: Tensor) -> Tensor:
        """[B, 1, T, S]: which slots each new token sees; S is the longest row, the new tokens included."""
        self._pending = positions
        size = self._longest + positions.shape[-1]
        return (torch.arange(size, device=positions.device) <= positions[:, :, None])[:, None]

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Stores keys and values [B, G, T, d] at the pending positions; attention over all of them [B, T, H d]."""
        size = self._longest + keys.shape[2]
        rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
        self.keys[layer][rows, :, self._pending] = keys.transpose(1, 2)
        self.values[layer][rows, :, self._pending] = values.transpose(1, 2)
        y = F.scaled_dot_product_attention(
            queries,
            self.keys[layer, :, :, :size],
            self.values[layer, :, :, :size],
            attn_mask=mask,
            enable_gqa=keys.shape[1] != queries.shape[1],
        )
        return y.transpose(1, 2).flatten(2)

    def advance(self, counts: Tensor | int) -> None:
        """Counts the first `counts` (one number, or one a row) of the tokens just appended as seen."""
        self.lengths = self.lengths + counts
        self._longest = int(self.lengths.max())
