"""Detects spikes in loss or gradient norm, so that the trainer can skip the update.

A step is a spike if its loss or gradient norm is more than `sigmas` standard deviations above the mean of the last
`length` steps (OLMo-core: 6 sigma over 128 steps). The trainer discards the gradient of such a step and logs its
documents. The values of a spike still enter the window, so a permanent change of the loss soon counts as normal. No
step is a spike until half the window is filled, because loss and norm change quickly at the start.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class SpikeWindow:
    sigmas: float
    length: int = 128
    losses: deque[float] = field(init=False)
    norms: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self.losses = deque(maxlen=self.length)
        self.norms = deque(maxlen=self.length)

    def accepts(self, loss: float, norm: float) -> bool:
        """Whether the step is not a spike. The values enter the window in either case."""
        spike = self._above(self.losses, loss) or self._above(self.norms, norm)
        self.losses.append(loss)
        self.norms.append(norm)
        return not spike

    def _above(self, window: deque[float], value: float) -> bool:
        if len(window) < self.length // 2:
            return False
        seen = np.array(window)
        return bool(value > seen.mean() + self.sigmas * seen.std())

    def state_dict(self) -> dict[str, Any]:
        """The window as JSON values. JSON keeps floats exactly."""
        return {"losses": list(self.losses), "norms": list(self.norms)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses = deque(state["losses"], maxlen=self.length)
        self.norms = deque(state["norms"], maxlen=self.length)
