"""The common base of objectives on the windows of a token store."""

from __future__ import annotations

import torch
from torch import nn

from bessemer.tokens.store import TokenStore
from bessemer.train.objectives.base import Stateless
from bessemer.train.objectives.windows import TrainingWindows, ValidationWindows
from bessemer.train.sampler import Rows


class OverWindows(Stateless):
    """Base class that reads the splits `train` and `validation`. It has no state except the model's."""

    prefetch = True

    def __init__(
        self, store: TokenStore, *, length: int, seed: int, validation_windows: int, z_loss: float = 0.0
    ) -> None:
        self.windows = TrainingWindows(store, "train", length, seed)
        self.held_out = ValidationWindows(store, "validation", length, validation_windows)
        self.num_rows = self.windows.num_rows
        self.num_validation_rows = self.held_out.num_rows
        self.length, self.seed, self.z_loss = length, seed, z_loss
        self.modules = nn.ModuleDict()
        self.token_bytes = torch.from_numpy(store.token_bytes.astype("int64"))

    def documents(self, rows: Rows) -> list[str]:
        return self.windows.documents(rows)
