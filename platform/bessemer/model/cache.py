"""Keys and values of the tokens seen so far, so that a new token costs one position, not the whole text.

Memory is taken once: 2 L B G S d numbers for S positions. Every row has its own length, so prompts of unequal
length share a batch without padding between prompt and answer: a row's token t always sits in slot t. The slots
past a row's length hold garbage until they are written; the mask hides them. Where all rows are equally long,
nothing needs to be hidden and slots are written as one slice.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bessemer.model import rope
from bessemer.model.config import ModelConfig
from bessemer.model.rope import Rotation


class KeyValueCache:
    """Room for `capacity` positions in each of `rows` rows."""

    def __init__(
        self, config: ModelConfig, rows: int, capacity: int, *, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        shape = (config.num_hidden_layers, rows, config.num_key_value_heads, capacity, config.head_dim)
        self._keys = torch.zeros(shape, dtype=dtype, device=device)
        self._values = torch.zeros(shape, dtype=dtype, device=device)
        self._cosine, self._sine = rope.rotation(config, capacity, None, self._keys.device)
        self._lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self._longest = self._size = 0
        self._even = True
        self._banded: Tensor | None = None
        self._slots: slice | tuple[Tensor, Tensor] = slice(0, 0)
        self._windows = [config.window(layer) for layer in range(config.num_hidden_layers)]
        self._positions = self._lengths  # of the open slots, [1 or B, T]

    def open(self, count: int) -> tuple[Rotation, Tensor | None]:
        """Opens the next `count` slots of every row: their rotation, and which slots [B, 1, T, S] each may see.

        No mask (None) where a single token of equally long rows sees everything, or where nothing was seen before.
        """
        self._size = self._longest + count
        self._banded = None
        if self._even:
            self._positions = torch.arange(self._longest, self._size, device=self._lengths.device)[None]
            self._slots = slots = slice(self._longest, self._size)
            rotation = self._cosine[:, slots], self._sine[:, slots]
            if count == 1 or self._longest == 0:
                return rotation, None
            return rotation, self._mask(self._positions)
        positions = self._positions = self._lengths[:, None] + torch.arange(count, device=self._lengths.device)
        self._slots = (torch.arange(len(positions), device=positions.device)[:, None], positions)
        return (self._cosine[0, positions], self._sine[0, positions]), self._mask(positions)

    def _mask(self, positions: Tensor) -> Tensor:
        return (torch.arange(self._size, device=positions.device) <= positions[:, :, None])[:, None]

    def _band(self, window: int) -> Tensor:
        """The mask of a layer with a window; the same for all of them while the slots are open."""
        if self._banded is None:
            slots = torch.arange(self._size, device=self._lengths.device)
            self._banded = self._mask(self._positions) & (slots > self._positions[:, None, :, None] - window)
        return self._banded

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Stores keys and values [B, G, T, d] in the open slots; attention over all slots, [B, T, H d]."""
        for store, new in ((self._keys[layer], keys), (self._values[layer], values)):
            if isinstance(self._slots, slice):
                store[:, :, self._slots] = new
            else:
                rows, slots = self._slots
                store[rows, :, slots] = new.transpose(1, 2)
        window = self._windows[layer]
        if window is not None and window < self._size:
            mask = self._band(window)
        y = F.scaled_dot_product_attention(
            queries,
            self._keys[layer, :, :, : self._size],
            self._values[layer, :, :, : self._size],
            attn_mask=mask,
            is_causal=mask is None and queries.shape[2] > 1,
            enable_gqa=keys.shape[1] != queries.shape[1],
        )
        return y.transpose(1, 2).flatten(2)

    def advance(self, counts: Tensor | int) -> None:
        """Counts the first `counts` (one number, or one a row) of the tokens in the open slots as seen."""
        self._lengths = self._lengths + counts
        shortest, longest = torch.aminmax(self._lengths)
        self._longest, self._even = int(longest), bool(shortest == longest)

    def keep_rows(self, rows: Tensor) -> None:
        """Forgets all rows but these."""
        self._keys, self._values = self._keys[:, rows], self._values[:, rows]
        self._lengths = self._lengths[rows]
        self.advance(0)
