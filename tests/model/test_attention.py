"""Attention uses the fastest kernel that supports the shape."""

from __future__ import annotations

import pytest
import torch

from bessemer.model import attention
from bessemer.model.config import ModelShape

CONFIG = ModelShape(size="nano").resolve(vocab_size=300, max_seq_length=64)


def test_a_cpu_has_nothing_to_choose() -> None:
    with attention.fastest_first(CONFIG, rows=2, length=64, dtype=torch.float32, device=torch.device("cpu")) as chosen:
        assert chosen is None


def test_kernels_that_do_not_take_a_shape_are_passed_over() -> None:
    """On a CPU, torch supports FlashAttention only. The other kernels raise an error."""
    work = attention._attention(CONFIG, 2, 64, torch.float32, torch.device("cpu"))
    assert set(attention.timed(work)) <= {"flash"}


@pytest.mark.parametrize("fastest", ["flash", "cudnn", "efficient"])
def test_the_fastest_goes_first_and_the_others_stay(monkeypatch: pytest.MonkeyPatch, fastest: str) -> None:
    monkeypatch.setattr(attention, "_attention", lambda *arguments: lambda: None)
    monkeypatch.setattr(attention, "timed", lambda work: {n: 1.0 + (n != fastest) for n in attention.KERNELS})
    cuda = torch.device("cuda")
    with attention.fastest_first(CONFIG, rows=2, length=64, dtype=torch.bfloat16, device=cuda) as chosen:
        assert chosen == fastest
        order = torch._C._get_sdp_priority_order()
        assert order[0] == int(attention.KERNELS[fastest])
        assert torch.backends.cuda.math_sdp_enabled()
