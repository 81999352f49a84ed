"""Measures the speed of matrix products in bf16 and in fp32 once per machine, and keeps it in the user's cache.

The measurement takes the best of several 1024 x 1024 products: a few hundredths of a second. Some CPUs emulate bf16 and
need 3 s per product, so a small product is timed first, and a type that is too slow keeps that figure. The cache is
keyed by the processor's name and torch's version, so a machine always chooses the same type. `remembered` needs no
torch, so `bessemer plan` can show the figure. The cache may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import re
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer import storage
from bessemer.errors import StorageError

if TYPE_CHECKING:
    import torch

WORTHWHILE = 1.2
"""Smallest speedup for which bf16 is chosen, because bf16 is less precise."""
_TYPES = ("bfloat16", "float32")
_SMALL, _LARGE = 256, 1024
"""Rows and columns of the matrices."""
_REPEATS = 5
_LONGEST = 0.25
"""Seconds that one large product may take."""

Speeds = dict[str, float]
"""Operations per second of matrix products, by number type."""


def remembered() -> Speeds | None:
    """The stored measurement of this machine's GPU, or of its CPU if it has no GPU; None before the first one."""
    return _read().get(_key(_gpu_name() or _cpu_name()))


def measured(device: torch.device) -> Speeds:
    """The stored measurement of `device`. Measures and stores it if it is missing."""
    import torch

    key = _key(torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name())
    known = _read()
    if key not in known:
        known[key] = {name: _measure(device, getattr(torch, name)) for name in _TYPES}
        with contextlib.suppress(OSError, StorageError):  # without a writable cache, each process measures
            storage.write_json(_file(), known)
    return known[key]


def faster(speeds: Speeds) -> str:
    """The faster number type: bf16 if its speedup is at least `WORTHWHILE`, otherwise fp32."""
    return "bfloat16" if speeds["bfloat16"] >= WORTHWHILE * speeds["float32"] else "float32"


def _measure(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second, of large products unless one of them would take longer than `_LONGEST`."""
    small = _speed(device, dtype, _SMALL)
    return _speed(device, dtype, _LARGE) if _operations(_LARGE) / small <= _LONGEST else small


def _speed(device: torch.device, dtype: torch.dtype, size: int) -> float:
    import torch

    a = torch.ones(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return _operations(size) / best


def _operations(size: int) -> float:
    return 2.0 * size**3


def _read() -> dict[str, Speeds]:
    with contextlib.suppress(OSError, ValueError, AttributeError, KeyError, TypeError):  # the file is damaged
        found = storage.read_json(_file()) or {}
        return {key: {name: float(speeds[name]) for name in _TYPES} for key, speeds in found.items()}
    return {}


def _file() -> Path:
    return storage.cache_folder() / "speeds.json"


def _key(processor: str) -> str:
    return f"{processor}, torch {version('torch')}"


def _gpu_name() -> str | None:
    """The name that NVIDIA's driver gives; None without a driver."""
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            if found := re.search(r"^Model:\s*(.+)$", file.read_text(), re.MULTILINE):
                return found[1].strip()
    return None


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1].strip()
    import platform

    return platform.processor() or platform.machine()
