"""Selects the fastest of torch's fused attention kernels for a model on this GPU, by measurement.

The relative speed of the FlashAttention, cuDNN and memory-efficient kernels varies by tens of per cent between GPUs and
shapes. Each kernel is timed forward and backward on the shape of the training batches. The fastest gets priority. The
others remain as fallbacks for inputs that it does not support (FlashAttention supports no mask). CPUs use their own
attention, in `cpu.py`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bessemer.model.config import ModelConfig

KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
_REPEATS = 5


@contextmanager
def fastest_first(
    config: ModelConfig, *, rows: int, length: int, dtype: torch.dtype, device: torch.device
) -> Iterator[str | None]:
    """A context in which the fastest kernel for batches of shape `rows` x `length` has priority.

    Yields the kernel's name, or None on CPUs and if no kernel supports the shape.
    """
    times = timed(_attention(config, rows, length, dtype, device)) if device.type == "cuda" else {}
    if not times:
        yield None
        return
    order = sorted(times, key=lambda name: times[name])
    with sdpa_kernel([*(KERNELS[name] for name in order), SDPBackend.MATH], set_priority=True):
        yield order[0]


def timed(attention: Callable[[], None]) -> dict[str, float]:
    """Seconds that `attention` takes with each kernel that supports it, the minimum of several repeats."""
    found = {}
    for name, backend in KERNELS.items():
        try:
            with warnings.catch_warnings(), sdpa_kernel(backend):
                warnings.simplefilter("ignore")  # a kernel that does not support the shape warns at length
                found[name] = min(_seconds(attention) for _ in range(_REPEATS))
        except RuntimeError:  # the kernel does not support the shape or the GPU
            continue
    return found


def _seconds(attention: Callable[[], None]) -> float:
    began = time.perf_counter()
    attention()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _attention(
    config: ModelConfig, rows: int, length: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], None]:
    heads = (config.num_attention_heads, config.num_key_value_heads, config.num_key_value_heads)
    q, k, v = (
        torch.randn(rows, count, length, config.head_dim, dtype=dtype, device=device, requires_grad=True)
        for count in heads
    )

    def attention() -> None:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=k.shape[1] != q.shape[1])
        torch.autograd.grad(y.sum(), (q, k, v))

    return attention
