"""How fast this machine multiplies matrices in bf16 and in fp32: measured once, then remembered in the user's cache.

The measurement (1024 x 1024 products, the best of several, a few hundredths of a second) is kept by the processor's
name and torch's version, so that a machine decides alike each time; `remembered` needs no torch, so that `bessemer
plan` can show it. The cache may be deleted at any time.
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
"""How many times as fast bf16 must be to be chosen: it is less exact."""
_TYPES = ("bfloat16", "float32")
_SIZE = 1024
_REPEATS = 5

Speeds = dict[str, float]
"""Operations a second of matrix products, by number type."""


def remembered() -> Speeds | None:
    """What was measured on this machine's GPU, or on its CPU where it has none; None if nothing was yet."""
    return _read().get(_key(_gpu_name() or _cpu_name()))


def measured(device: torch.device) -> Speeds:
    """What was measured on `device`, now if never before."""
    import torch

    key = _key(torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name())
    known = _read()
    if key not in known:
        known[key] = {name: _measure(device, getattr(torch, name)) for name in _TYPES}
        with contextlib.suppress(OSError, StorageError):  # a cache that cannot be written costs a measurement
            storage.write_json(_file(), known)
    return known[key]


def faster(speeds: Speeds) -> str:
    """The number type to compute in."""
    return "bfloat16" if speeds["bfloat16"] >= WORTHWHILE * speeds["float32"] else "float32"


def _measure(device: torch.device, dtype: torch.dtype) -> float:
    import torch

    a = torch.ones(_SIZE, _SIZE, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2 * _SIZE**3 / best


def _read() -> dict[str, Speeds]:
    with contextlib.suppress(OSError, ValueError, AttributeError, KeyError, TypeError):  # damaged
        found = storage.read_json(_file()) or {}
        return {key: {name: float(speeds[name]) for name in _TYPES} for key, speeds in found.items()}
    return {}


def _file() -> Path:
    return storage.cache_folder() / "speeds.json"


def _key(processor: str) -> str:
    return f"{processor}, torch {version('torch')}"


def _gpu_name() -> str | None:
    """As the driver gives it where there is NVIDIA's."""
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
