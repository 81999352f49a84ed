"""What this machine computes with: device, number type.

bf16 pays where the processor multiplies it in hardware: on GPUs since Ampere, and on CPUs with AMX tiles, where
matrix products run about ten times as fast as in fp32. The choice follows the processor's capabilities and not a
stopwatch, so that it is the same each time on the same machine.
"""

from __future__ import annotations

import os
from typing import Literal

import torch


def choose_device() -> torch.device:
    """This process's GPU (by LOCAL_RANK, as launchers set it), or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


def choose_dtype(wanted: Literal["auto", "bfloat16", "float32"], device: torch.device) -> torch.dtype:
    """The type that activations are computed in; `auto` is bf16 where the device multiplies it in hardware."""
    if wanted == "auto":
        fast = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else torch.cpu.get_capabilities().get("amx_bf16", False)
        )
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32
