"""The key-value cache: it stores the keys and values of previous tokens, so that only new tokens are computed.

Memory is allocated once: 2 L B G S d numbers for S positions (L layers; other letters as in `transformer.py`). Every
row has its own length, and its token t is always in slot t. Prompts of different lengths therefore share a batch
without padding between prompt and answer. Slots past a row's length contain arbitrary values until they are written,
and the mask hides them. If all rows have the same length, no mask is needed and the slots are written as one slice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from bessemer.model import rope
from bessemer.model.config import ModelConfig
from bessemer.model.rope import Rotation

Slots = slice | Tensor
"""The positions to write next: one slice for all rows, or a tensor [B, T] of positions per row."""


class KeyValueCache:
    """A cache for `rows` rows of at most `capacity` positions each."""

    def __init__(
        self, config: ModelConfig, rows: int, capacity: int, *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        shape, layers = (rows, config.num_key_value_heads, capacity, config.head_dim), range(config.num_hidden_layers)
        self._keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in layers]
        self._values = [torch.zeros(shape, dtype=dtype, device=device) for _ in layers]
        self._device = self._keys[0].device
        self._cosine, self._sine = rope.rotation(config, capacity, None, self._device)
        self._windows = [config.window(layer) for layer in layers]
        self._lengths = [0] * rows
        self._size = 0
        self._banded: Tensor | None = None
        self._slots: Slots = slice(0, 0)
        self._positions = torch.empty(0)  # positions of the open slots, [1 or B, T]

    @property
    def slots(self) -> Slots:
        """The open positions, set by `open`."""
        return self._slots

    def open(self, count: int) -> tuple[Rotation, Tensor | None]:
        """Opens the next `count` slots of every row. Returns their rotary rotation and their attention mask.

        The mask [B, 1, T, S] is true if an open slot may attend to a slot. It is None if all rows have the same length
        and either `count` is 1 or the cache is empty.
        """
        longest = max(self._lengths)
        self._size = longest + count
        self._banded = None
        if min(self._lengths) == longest:
            self._positions = torch.arange(longest, self._size, device=self._device)[None]
            self._slots = slots = slice(longest, self._size)
            rotation = self._cosine[:, slots], self._sine[:, slots]
            return rotation, None if count == 1 or longest == 0 else self._mask(self._positions)
        lengths = torch.tensor(self._lengths, device=self._device)
        positions = self._slots = self._positions = lengths[:, None] + torch.arange(count, device=self._device)
        return (self._cosine[0, positions], self._sine[0, positions]), self._mask(positions)

    def _mask(self, positions: Tensor) -> Tensor:
        return (torch.arange(self._size, device=self._device) <= positions[:, :, None])[:, None]

    def _band(self, window: int) -> Tensor:
        """The mask of the layers with a sliding window, computed once per call of `open`."""
        if self._banded is None:
            slots = torch.arange(self._size, device=self._device)
            self._banded = self._mask(self._positions) & (slots > self._positions[:, None, :, None] - window)
        return self._banded

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Stores keys and values [B, G, T, d] in the open slots. Returns attention over all slots, [B, T, H d]."""
        all_keys, all_values = self._keys[layer], self._values[layer]
        for store, new in ((all_keys, keys), (all_values, values)):
            if isinstance(self._slots, slice):
                store[:, :, self._slots] = new
            else:
                store[torch.arange(len(store), device=self._device)[:, None], :, self._slots] = new.transpose(1, 2)
        window = self._windows[layer]
        if window is not None and window < self._size:
            mask = self._band(window)
        y = F.scaled_dot_product_attention(
            queries,
            all_keys[:, :, : self._size],
            all_values[:, :, : self._size],
            attn_mask=mask,
            is_causal=mask is None and queries.shape[2] > 1,
            enable_gqa=keys.shape[1] != queries.shape[1],
        )
        return y.transpose(1, 2).flatten(2)

    def advance(self, counts: Sequence[int] | int) -> None:
        """Extends each row by the first `counts` tokens of its open slots: one number for all rows, or one per row."""
        each = [counts] * len(self._lengths) if isinstance(counts, int) else counts
        self._lengths = [length + count for length, count in zip(self._lengths, each, strict=True)]

    def take_rows(self, rows: Sequence[int]) -> None:
        """Keeps only these rows, in this order. An index may occur several times, which copies its row."""
        chosen = torch.tensor(rows, device=self._device)
        for stored in (self._keys, self._values):
            for layer, x in enumerate(stored):  # layer by layer, so that memory never holds two full caches
                stored[layer] = x[chosen]
        self._lengths = [self._lengths[row] for row in rows]
