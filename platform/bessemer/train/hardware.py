"""What this machine computes with: device, number type, threads.

bf16 pays where the processor multiplies it in hardware: on GPUs since Ampere, and on CPUs with AMX tiles, where
matrix products run about ten times as fast as in fp32 (AVX512-BF16 alone, without tiles, about twice). The choice
follows the processor's capabilities and not a stopwatch, so that it is the same each time on the same machine.
"""

from __future__ import annotations

import os
from typing import Literal

import torch

DtypeName = Literal["bfloat16", "float32"]


def choose_device() -> torch.device:
    """This process's GPU (by LOCAL_RANK, as launchers set it), or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


def fast_dtype(device: torch.device) -> DtypeName:
    """`bfloat16` where the device multiplies it in hardware, else `float32`."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        fast = bool(abilities.get("amx_bf16") or abilities.get("avx512_bf16"))
    return "bfloat16" if fast else "float32"
