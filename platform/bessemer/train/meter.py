"""How fast does training go, and how much of the time does it wait for data?"""

from __future__ import annotations

import time


class Meter:
    """Adds up the steps between two readings; time outside of steps (validation, saving) does not count."""

    def __init__(self) -> None:
        self._seconds = self._waiting = self._began = 0.0
        self._tokens = 0

    def start(self) -> None:
        """A step begins, with waiting for its batch."""
        self._began = time.perf_counter()

    def waited(self) -> None:
        """The batch is there."""
        self._waiting += time.perf_counter() - self._began

    def stop(self, num_tokens: int) -> None:
        """The step is done; `num_tokens` over all workers."""
        self._seconds += time.perf_counter() - self._began
        self._tokens += num_tokens

    def read(self) -> dict[str, float]:
        """The figures since the last reading."""
        figures = {
            "throughput/tokens_per_second": self._tokens / self._seconds,
            "throughput/data_wait_ratio": self._waiting / self._seconds,
        }
        self._seconds = self._waiting = 0.0
        self._tokens = 0
        return figures
