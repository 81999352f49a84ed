"""The learning rate schedule: a pure function from the step to a factor in [0, 1] that multiplies every group's rate.

- `warmup_stable_decay`: linear warmup, constant, then linear decay over the last `decay_ratio` of the steps
  (Hu et al. 2024, MiniCPM; Hägele et al. 2024). Training can be continued from a checkpoint of the constant part.
- `cosine`: linear warmup, then half a cosine (Loshchilov and Hutter 2017).
- `linear`: linear warmup, then linear decay.

All schedules decay towards `final_ratio`. Step N (counted from 1) is the N-th update. The factor of step 1 is above 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["warmup_stable_decay", "cosine", "linear"]


@dataclass(frozen=True)
class Schedule:
    shape: Shape
    num_steps: int
    warmup_steps: int
    decay_ratio: float
    final_ratio: float = 0.0

    def factor(self, step: int) -> float:
        """The factor of update `step`, for 1 <= step <= num_steps."""
        assert 1 <= step <= self.num_steps
        if step <= self.warmup_steps:
            return step / (self.warmup_steps + 1)
        start = self.warmup_steps
        if self.shape == "warmup_stable_decay":
            start = max(start, self.num_steps - round(self.decay_ratio * self.num_steps))
        # The last update is half a step before the end, because a factor of zero would waste its batch.
        progress = max(0.0, (step - start - 0.5) / max(1, self.num_steps - start))
        remaining = 0.5 * (1 + math.cos(math.pi * progress)) if self.shape == "cosine" else 1 - progress
        return self.final_ratio + (1 - self.final_ratio) * remaining
