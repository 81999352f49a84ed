"""Energy use of a run, read from the counter of the GPU or of the processor packages.

On Linux, Intel and AMD processors count microjoules per package (RAPL, under `/sys/class/powercap`). The count leaves
out memory and the rest of the machine, and the files may be readable by root only. NVIDIA GPUs since Volta count
millijoules per board. Both counters cover the whole device, including other processes that use it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import torch

RAPL = Path("/sys/class/powercap")


class EnergyMeter:
    """Measures the energy used since the meter was created."""

    def __init__(self, device: torch.device, folder: Path = RAPL) -> None:
        self._counters = [_gpu(device)] if device.type == "cuda" else [_package(p) for p in _packages(folder)]
        self._last = [read() for read, _ in self._counters]
        self._joules = 0.0

    def kilowatt_hours(self) -> float | None:
        """The energy used since the meter was created, in kWh; None without a readable counter.

        Call this more often than the counters wrap. A package counter wraps about every ten minutes under full load.
        """
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
"""A function that reads the counter in joules, and the value in joules at which the counter wraps to zero."""


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
        with contextlib.suppress(Exception):  # pynvml is missing, or the board has no counter
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
        return None

    return read, 0.0
