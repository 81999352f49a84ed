"""How much energy a run took: the GPU's own counter, or that of the processor packages, where one can be read.

On Linux, Intel and AMD processors count microjoules per package (RAPL, under `/sys/class/powercap`), memory and the
rest of the machine left out; reading it needs the right to. NVIDIA GPUs since Volta count millijoules of the board.
Both count what the whole device takes, also for others on it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import torch

RAPL = Path("/sys/class/powercap")


class EnergyMeter:
    """`kilowatt_hours()` since it was made; None where nothing counts."""

    def __init__(self, device: torch.device, folder: Path = RAPL) -> None:
        self._counters = [_gpu(device)] if device.type == "cuda" else [_package(p) for p in _packages(folder)]
        self._last = [read() for read, _ in self._counters]
        self._joules = 0.0

    def kilowatt_hours(self) -> float | None:
        """Read it more often than the counters wrap (a package's: about once in ten minutes under full load)."""
        now = [read() for read, _ in self._counters]
        pairs = list(zip(now, self._last, self._counters, strict=True))
        if not pairs or any(value is None or before is None for value, before, _ in pairs):
            return None
        for value, before, (_, wrap) in pairs:
            assert value is not None
            assert before is not None
            self._joules += value - before if value >= before else value + wrap - before
        self._last = now
        return self._joules / 3.6e6


Counter = tuple[Callable[[], float | None], float]
"""Reads joules; and the joules at which it begins again."""


def _packages(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*-rapl:?") if (path / "energy_uj").exists())


def _package(path: Path) -> Counter:
    def read() -> float | None:
        try:
            return int((path / "energy_uj").read_text()) / 1e6
        except (OSError, ValueError):
            return None

    try:
        wrap = int((path / "max_energy_range_uj").read_text()) / 1e6
    except (OSError, ValueError):
        wrap = 0.0
    return read, wrap


def _gpu(device: torch.device) -> Counter:
    def read() -> float | None:
        with contextlib.suppress(Exception):  # pynvml missing, or a board without the counter
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
        return None

    return read, 0.0
