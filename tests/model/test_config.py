"""Invalid shapes raise errors that give the reason. Parameter counts and FLOPs agree with the network."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from bessemer.model import plain
from bessemer.model.config import NAMED_SIZES, ModelConfig, ModelShape
from bessemer.model.transformer import Transformer


def config(**changes: object) -> ModelConfig:
    return ModelShape(**{"size": "nano", "num_hidden_layers": 2} | changes).resolve(vocab_size=50, max_seq_length=32)


@pytest.mark.parametrize("changes", [{}, {"qk_norm": False}, {"tie_word_embeddings": False}])
def test_num_parameters_counts_the_network(changes: dict) -> None:
    shape = config(**changes)
    assert shape.num_parameters() == sum(p.numel() for p in Transformer(shape).parameters())


def test_flops_per_token_agree_with_torchs_own_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bessemer.model.transformer.cpu", plain
    )  # the CPU path skips some products and recomputes others
    shape = config(num_key_value_heads=2)
    model = Transformer(shape)
    model.initialise(0)
    tokens = torch.zeros(2, 32, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(tokens, targets=tokens, mask=torch.ones(2, 32, 32, dtype=torch.bool)).backward()
    # The only difference is that the formula counts the gains of norms as matrices, and torch does not count them.
    norms = 6 * sum(p.numel() for p in model.parameters() if p.ndim == 1)
    assert counter.get_total_flops() == 64 * (shape.flops_per_token(32) - norms)


@pytest.mark.parametrize("size", list(NAMED_SIZES))
def test_named_sizes_resolve(size: str) -> None:
    resolved = ModelShape(size=size).resolve(vocab_size=8192, max_seq_length=512)
    named = NAMED_SIZES[size]
    assert resolved.hidden_size == named.hidden_size
    assert resolved.num_attention_heads == named.num_attention_heads
    assert resolved.num_key_value_heads == named.num_key_value_heads
    assert resolved.head_dim == named.head_dim


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"num_attention_heads": 3}, r"`num_attention_heads` \(3\) must divide `hidden_size` \(128\)"),
        ({"hidden_size": 100}, r"`hidden_size` \(100\) is not a multiple of the head width \(64\)"),
        ({"num_attention_heads": 4, "num_key_value_heads": 3}, r"`num_key_value_heads` \(3\) must divide"),
        ({"num_attention_heads": 2, "head_dim": 7}, "must be even"),
        ({"num_hidden_layers": 0}, "greater than 0"),
        ({"size": "huge"}, "'nano', 'tiny'"),
        ({"hiden_size": 128}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ModelShape(**{"size": "nano"} | changes)
