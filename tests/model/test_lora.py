"""New adapters do not change the model. Trained adapters load in `peft` and merge into the weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bessemer.generate.decoder import Decoder
from bessemer.model.cache import KeyValueCache
from bessemer.model.config import LoraSettings, ModelShape
from bessemer.model.hub import export_model
from bessemer.model.lora import add_adapters, merge_adapters, write_adapters
from bessemer.model.transformer import Transformer

SETTINGS = LoraSettings(r=3, lora_alpha=6)
TOKENS = torch.arange(12).view(2, 6)


@pytest.fixture
def model() -> Transformer:
    shape = ModelShape(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=16)
    model = Transformer(shape.resolve(vocab_size=20, max_seq_length=16))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.2, generator=generator)
    return model


def shaken(model: Transformer) -> None:
    """Sets the trainable parameters to random values, so that the adapters have an effect."""
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(0.0, 0.3, generator=generator)


def test_fresh_adapters_change_nothing_and_trained_ones_do(model: Transformer) -> None:
    before = model(TOKENS)
    add_adapters(model, SETTINGS, seed=0)
    assert torch.equal(model(TOKENS), before)
    shaken(model)
    assert not torch.allclose(model(TOKENS), before, atol=0.1)


def test_only_adapters_learn_and_all_of_them_do(model: Transformer) -> None:
    add_adapters(model, SETTINGS, seed=0)
    shaken(model)
    model(TOKENS, targets=TOKENS).backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(learning) == 2 * 7 * 2, "two matrices for each of seven projections in two layers"
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None and bool(parameter.grad.any())) == (name in learning), name


@pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing:FutureWarning"
)  # from peft, which reads an attribute of transformers
@pytest.mark.parametrize("targets", [SETTINGS.target_modules, ("q_proj", "v_proj"), ("up_proj",)])
def test_peft_loads_them_and_merging_gives_the_same_model(
    model: Transformer, tmp_path: Path, targets: tuple[str, ...]
) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    settings = LoraSettings.model_validate({"r": 3, "lora_alpha": 6, "target_modules": targets})
    export_model(model, tmp_path / "base")
    add_adapters(model, settings, seed=0)
    shaken(model)
    write_adapters(model, settings, tmp_path / "adapter", base=tmp_path / "base")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    adapted = model(TOKENS)
    torch.testing.assert_close(theirs(TOKENS).logits, adapted, rtol=1e-4, atol=1e-4)
    assert sorted(json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["target_modules"]) == sorted(
        targets
    )
    merge_adapters(model)
    assert not any(block.adapters for block in model.blocks())
    torch.testing.assert_close(model(TOKENS), adapted, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing:FutureWarning"
)  # from peft, which reads an attribute of transformers
def test_peft_finds_the_base_by_itself(model: Transformer, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    export_model(model, tmp_path / "base")
    add_adapters(model, SETTINGS, seed=0)
    shaken(model)
    write_adapters(model, SETTINGS, tmp_path / "adapter", base=tmp_path / "base")
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "adapter"), dtype=torch.float32)
    torch.testing.assert_close(theirs(TOKENS).logits, model(TOKENS), rtol=1e-4, atol=1e-4)


def test_generation_hears_of_them(model: Transformer) -> None:
    add_adapters(model, SETTINGS, seed=0)
    shaken(model)
    cache = KeyValueCache(model.config, 2, 6, dtype=torch.float32)
    decoder = Decoder(model)
    for place in range(6):
        logits = decoder.step(TOKENS[:, place], cache)
        cache.advance(1)
    torch.testing.assert_close(logits, model(TOKENS)[:, -1], rtol=1e-4, atol=1e-4)


def test_roles_cut_adapters_by_their_own_shape(model: Transformer) -> None:
    """An adapter's parameter `down` has r rows, but the block's parameter `down` has hidden_size rows."""
    before = model.parameter_roles()
    add_adapters(model, SETTINGS, seed=0)
    roles = model.parameter_roles()
    assert {name: role for name, role in roles.items() if name in before} == before
    adapters = {name: p for name, p in model.named_parameters() if name not in before}
    assert len(adapters) == 2 * 7 * 2
    for name, parameter in adapters.items():
        assert (roles[name].kind, roles[name].rows) == ("matrix", (len(parameter),)), name
