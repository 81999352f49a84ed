"""Which of torch's fused attention kernels is fastest on this GPU for a model: measured, not assumed.

FlashAttention's, cuDNN's and the memory-efficient kernel differ by tens of per cent between GPUs and shapes. Each is
timed forward and back on the shape that training has, and the fastest goes first; the others stay for what it does not
take (FlashAttention's takes no mask). CPUs have their own attention (`cpu.py`).
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
    """In the body the fastest kernel for batches of `rows` by `length` goes first; yields its name.

    None where there is nothing to choose.
    """
    times = timed(_attention(config, rows, length, dtype, device)) if device.type == "cuda" else {}
    if not times:
        yield None
        return
    order = sorted(times, key=lambda name: times[name])
    with sdpa_kernel([*(KERNELS[name] for name in order), SDPBackend.MATH], set_priority=True):
        yield order[0]


def timed(attention: Callable[[], None]) -> dict[str, float]:
    """Seconds of `attention` with each kernel that takes it, the best of several."""
    found = {}
    for name, backend in KERNELS.items():
        try:
            with warnings.catch_warnings(), sdpa_kernel(backend):
                warnings.simplefilter("ignore")  # a kernel says at length why it cannot
                found[name] = min(_seconds(attention) for _ in range(_REPEATS))
        except RuntimeError:  # there is no such kernel for the shape or the GPU
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
