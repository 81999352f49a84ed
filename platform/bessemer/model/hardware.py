"""What this machine computes with: device, number type, peak.

bf16 pays where the processor multiplies it in hardware: on GPUs since Ampere, and on CPUs with AMX tiles, where
matrix products run about ten times as fast as in fp32. `model.speed` measures it once a machine.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from importlib.util import find_spec
from typing import Literal

import torch

from bessemer.errors import UsageError
from bessemer.model import speed


def choose_device() -> torch.device:
    """This process's GPU (by LOCAL_RANK, as launchers set it), or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


def choose_dtype(wanted: Literal["auto", "bfloat16", "float32"], device: torch.device) -> torch.dtype:
    """The type that activations are computed in; `auto` is bf16 where the device was measured to be faster with it."""
    chosen = speed.faster(speed.measured(device)) if wanted == "auto" else wanted
    return torch.bfloat16 if chosen == "bfloat16" else torch.float32


def should_compile(wanted: bool | Literal["auto"], device: torch.device) -> bool:
    """Whether to compile a model; `auto`: on GPUs for which torch came with its compiler.

    Raises UsageError where it is wanted and there is no compiler.
    """
    compiler = "triton" if device.type == "cuda" else "a C++ compiler"
    there = find_spec("triton") is not None if device.type == "cuda" else _has_cxx()
    if wanted == "auto":
        return device.type == "cuda" and there
    if wanted and not there:
        raise UsageError(
            f"`compile: true` needs {compiler}, and this machine has none", hint=f"install {compiler}, or leave it out"
        )
    return wanted


def _has_cxx() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))


PEAK_FLOPS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "A10G": 70e12,
    "A10": 125e12,
    "A40": 149.7e12,
    "A6000": 154.8e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165.2e12,
    "RTX 3090": 71e12,
}
"""Dense bf16 operations a second by the words in a GPU's name, the longer name first; from NVIDIA's data sheets."""


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """What the device could do at best, or None where no data sheet is known: a guess would make utilisation a lie."""
    if device.type != "cuda" or dtype != torch.bfloat16:
        return None
    words = torch.cuda.get_device_name(device).replace("-", " ").split()
    return peak_of(words)


def peak_of(words: list[str]) -> float | None:
    """The peak of the GPU whose name has these words."""
    for name, peak in sorted(PEAK_FLOPS.items(), key=lambda item: -len(item[0])):
        if set(name.split()) <= set(words):
            return peak
    return None


def peak_memory(device: torch.device) -> int:
    """Bytes that this process held at most: on the GPU where it uses one, else in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
