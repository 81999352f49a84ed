"""When is a step too unlike the last ones to be learned from?

A step whose loss or gradient norm lies more than `sigmas` standard deviations above the mean of the last `length`
steps is skipped: its gradient is thrown away and its documents are noted (OLMo-core: 6 sigma over 128 steps). Its
values join the window all the same, so that a loss that has moved for good is soon learned from again. Nothing is
judged before half the window is filled: in the first steps loss and norm move for good reasons.
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
        """Whether the step may be learned from; it joins the window in any case."""
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
        """JSON values; floats survive JSON exactly."""
        return {"losses": list(self.losses), "norms": list(self.norms)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses = deque(state["losses"], maxlen=self.length)
        self.norms = deque(state["norms"], maxlen=self.length)
