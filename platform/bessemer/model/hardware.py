"""The hardware of this machine: device, number type, peak performance.

bf16 is faster if the processor multiplies it in hardware: on GPUs since Ampere, and on CPUs with AMX tiles, whose
matrix products are about ten times as fast as in fp32. `model.speed` measures the difference once per machine.
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
    """The GPU of this process, chosen by the launcher's variable LOCAL_RANK; the CPU if the machine has no GPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


def choose_dtype(wanted: Literal["auto", "bfloat16", "float32"], device: torch.device) -> torch.dtype:
    """The number type of activations. `auto` is bf16 if a measurement on the device shows that it is faster."""
    chosen = speed.faster(speed.measured(device)) if wanted == "auto" else wanted
    return torch.bfloat16 if chosen == "bfloat16" else torch.float32


def should_compile(wanted: bool | Literal["auto"], device: torch.device) -> bool:
    """Whether to compile a model. `auto` compiles on GPUs if torch's compiler for them is installed.

    Raises UsageError if `wanted` is true and no compiler is installed.
    """
    compiler = "triton" if device.type == "cuda" else "a C++ compiler"
    there = find_spec("triton") is not None if device.type == "cuda" else _has_cxx()
    if wanted == "auto":
        return device.type == "cuda" and there
    if wanted and not there:
        raise UsageError(
            f"`compile: true` needs {compiler}, but this machine has none",
            hint=f"install {compiler}, or remove `compile`",
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
"""Peak dense bf16 operations per second, by the words in a GPU's name; from NVIDIA's data sheets."""


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """The device's peak operations per second; None if its data sheet is not known, as a guess would mislead."""
    if device.type != "cuda" or dtype != torch.bfloat16:
        return None
    words = torch.cuda.get_device_name(device).replace("-", " ").split()
    return peak_of(words)


def peak_of(words: list[str]) -> float | None:
    """The peak of the GPU whose name has these words; the longest matching entry of `PEAK_FLOPS` wins."""
    for name, peak in sorted(PEAK_FLOPS.items(), key=lambda item: -len(item[0])):
        if set(name.split()) <= set(words):
            return peak
    return None


def peak_memory(device: torch.device) -> int:
    """The peak memory of this process in bytes: GPU memory if `device` is a GPU, otherwise main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
