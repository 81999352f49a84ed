"""The hand-written CPU operations equal the plain formulas, in their results and in every gradient."""

from __future__ import annotations

import pytest
import torch

from bessemer.model import cpu, plain, rope
from bessemer.model.config import ModelConfig

SHAPE = ModelConfig(
    vocab_size=11,
    hidden_size=24,
    intermediate_size=20,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=64,
)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def assert_same(name: str, inputs: list[torch.Tensor], call: object, tolerance: float = 2e-5) -> None:
    """Checks that `call(cpu)` and `call(plain)` have the same result and the same gradients for `inputs`."""
    results = []
    for module in (cpu, plain):
        y = call(module)
        upstream = numbers(*y.shape, seed=9).detach().to(y.dtype)
        results.append([y, *torch.autograd.grad(y, inputs, upstream)])
    for ours, theirs in zip(*results, strict=True):
        error = (ours.float() - theirs.float()).abs().max() / theirs.float().abs().max()
        assert error < tolerance, name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_norm_linear(dtype: torch.dtype, tolerance: float) -> None:
    x, gain, weight = numbers(2, 5, 24), numbers(24, seed=1), numbers(7, 24, seed=2)
    call = lambda module: module.norm_linear(x.to(dtype), gain, weight, 1e-6)  # noqa: E731
    assert_same("norm_linear", [x, gain, weight], call, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_swiglu(dtype: torch.dtype, tolerance: float) -> None:
    gate_up = numbers(3, 5, 40)
    assert_same("swiglu", [gate_up], lambda module: module.swiglu(gate_up.to(dtype)), tolerance)


@pytest.mark.parametrize("block", [1, 16, 2**20], ids=["ragged blocks", "small blocks", "one block"])
@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("kind", ["causal", "bidirectional", "causal documents", "bidirectional documents"])
def test_attention(monkeypatch: pytest.MonkeyPatch, kind: str, qk_norm: bool, block: int) -> None:
    monkeypatch.setattr(cpu, "BLOCK_NUMBERS", block)
    monkeypatch.setattr(cpu, "MINIMUM_BLOCK", 5 if block == 1 else 8)
    length = 29
    qkv, gains = numbers(2, length, 64), (numbers(8, seed=1), numbers(8, seed=2))
    rotation = rope.rotation(SHAPE, length, None, torch.device("cpu"))
    causal, mask = kind.startswith("causal"), None
    if kind.endswith("documents"):
        documents = (torch.arange(length) // 7).expand(2, -1)
        mask = (documents[:, :, None] == documents[:, None, :])[:, None]
        mask = mask.tril() if causal else mask

    def call(module: object) -> torch.Tensor:
        return module.attend(qkv, gains if qk_norm else None, rotation, SHAPE, causal=causal, mask=mask)

    assert_same(kind, [qkv, *gains] if qk_norm else [qkv], call)


def test_attention_in_bfloat16_stays_near_the_formula() -> None:
    qkv, gains = numbers(2, 100, 64), (numbers(8, seed=1), numbers(8, seed=2))
    rotation = rope.rotation(SHAPE, 100, None, torch.device("cpu"))

    def call(module: object) -> torch.Tensor:
        return module.attend(qkv.bfloat16(), gains, rotation, SHAPE, causal=True, mask=None)

    assert_same("bfloat16", [qkv, *gains], call, tolerance=4e-2)
