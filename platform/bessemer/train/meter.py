"""Training throughput, hardware utilisation, and the time spent on waiting for data and on saving.

Model-flops utilisation is the model's operations per token times tokens per second, divided by the peak of all
workers. The operations per token are `ModelConfig.flops_per_token`, 6 N + 12 L H d T, for forward and backward without
recomputation. If the peak of the hardware is unknown, the utilisation is not recorded.
"""

from __future__ import annotations

import time

import torch

from bessemer.model.hardware import peak_memory
from bessemer.train.energy import EnergyMeter
from bessemer.train.workers import Workers


class Meter:
    """Adds up time and tokens of the steps between two readings. Validation and saving are not part of a step."""

    def __init__(self, workers: Workers, flops_per_token: int, peak_flops: float | None) -> None:
        self._flops_per_token = flops_per_token
        self._peak = peak_flops * workers.size if peak_flops else None
        self._device = workers.device
        self._energy = EnergyMeter(workers.device)
        self._seconds = self._waiting = self._began = 0.0
        self._tokens = 0
        self._since = time.perf_counter()
        self._saving = 0.0

    def start(self) -> None:
        """Marks the start of a step, before it waits for its batch."""
        self._began = time.perf_counter()

    def waited(self) -> None:
        """Marks that the batch has arrived."""
        self._waiting += time.perf_counter() - self._began

    def stop(self, num_tokens: int) -> None:
        """Marks the end of a step that trained on `num_tokens` tokens over all workers."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._seconds += time.perf_counter() - self._began
        self._tokens += num_tokens

    def saved(self, seconds: float) -> None:
        """Adds `seconds` for which training paused to save."""
        self._saving += seconds

    def read(self) -> dict[str, float]:
        """The figures since the last reading, by metric name."""
        now = time.perf_counter()
        speed = self._tokens / self._seconds
        figures = {
            "throughput/tokens_per_second": speed,
            "throughput/teraflops": speed * self._flops_per_token / 1e12,
            "throughput/data_wait_ratio": self._waiting / self._seconds,
            "throughput/checkpoint_ratio": self._saving / (now - self._since),
            "memory/peak_gib": peak_memory(self._device) / 2**30,
        }
        if self._peak:
            figures["throughput/model_flops_utilisation"] = speed * self._flops_per_token / self._peak
        if (energy := self._energy.kilowatt_hours()) is not None:
            figures["energy/kilowatt_hours"] = energy
        self._seconds = self._waiting = self._saving = 0.0
        self._tokens, self._since = 0, now
        return figures
