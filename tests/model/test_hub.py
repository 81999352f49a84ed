"""Exported models load in `transformers` with equal logits. Folders that do not fit raise errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from bessemer.errors import ArtifactDamaged, InputError
from bessemer.model.config import ModelConfig
from bessemer.model.hub import check_model, export_model, load_config, load_model, stored_dtype, verify_export
from bessemer.model.transformer import Transformer

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
}


def random_model(**changes: object) -> Transformer:
    model = Transformer(ModelConfig(**SHAPE | changes))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0.6 if parameter.ndim == 1 else 0.0, 0.2, generator=generator)
    return model


def random_tokens(rows: int = 2, length: int = 23) -> torch.Tensor:
    return torch.randint(0, 97, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("qk_norm", [True, False], ids=["qwen3", "llama"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("num_key_value_heads", [4, 2, 1])
def test_stock_transformers_gives_equal_logits(
    tmp_path: Path, qk_norm: bool, tied: bool, num_key_value_heads: int
) -> None:
    model = random_model(qk_norm=qk_norm, tie_word_embeddings=tied, num_key_value_heads=num_key_value_heads)
    export_model(model, tmp_path)
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(stock).__name__ == ("Qwen3ForCausalLM" if qk_norm else "LlamaForCausalLM")
    tokens = random_tokens()
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), stock(tokens).logits, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_sharded_stock_checkpoints_load_with_equal_logits(tmp_path: Path, family: str, tied: bool) -> None:
    rope = {"rope_type": "default", "rope_theta": 5e5}
    if family == "llama":
        rope |= {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    config = transformers.AutoConfig.for_model(
        family, **SHAPE, tie_word_embeddings=tied, rope_parameters=rope, initializer_range=0.3
    )
    torch.manual_seed(3)
    stock = transformers.AutoModelForCausalLM.from_config(config).eval()
    stock.save_pretrained(tmp_path, max_shard_size="40KB")
    assert (tmp_path / "model.safetensors.index.json").exists(), "the test needs shards"
    model = load_model(tmp_path)
    tokens = random_tokens(length=60)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), stock(tokens).logits, atol=2e-5, rtol=1e-5)


def test_sliding_layers_are_those_of_stock_transformers(tmp_path: Path) -> None:
    """Export and import with sliding and full layers in turn, on a text that is four windows long."""
    types = ("sliding_attention", "full_attention", "sliding_attention")
    model = random_model(num_hidden_layers=3, sliding_window=7, layer_types=types)
    export_model(model, tmp_path / "ours")
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", attn_implementation="eager")
    tokens = random_tokens(length=29)
    with torch.no_grad():
        expected = stock(tokens).logits
        torch.testing.assert_close(model(tokens), expected, atol=2e-5, rtol=1e-5)
    everything = random_model(num_hidden_layers=3)(tokens)
    assert not torch.allclose(everything, expected, atol=1e-2), "the window should make a difference"
    stock.save_pretrained(tmp_path / "theirs")
    assert load_config(tmp_path / "theirs").layer_types == types
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "theirs")(tokens), expected, atol=2e-5, rtol=1e-5)


def test_a_window_that_is_not_used_is_none(tmp_path: Path) -> None:
    export_model(random_model(), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_sliding_window": False, "sliding_window": 4096}))
    assert load_config(tmp_path).sliding_window is None


def test_export_and_import_are_inverse(tmp_path: Path) -> None:
    model = random_model(rope_theta=5e4)
    export_model(model, tmp_path, stop_ids=[7])
    assert load_config(tmp_path) == model.config
    loaded = load_model(tmp_path)
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, loaded.state_dict()[name]), name
    assert json.loads((tmp_path / "generation_config.json").read_text()) == {"eos_token_id": 7}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_stored_type_is_that_of_the_weights(tmp_path: Path, dtype: torch.dtype) -> None:
    """The type is correct even if `config.json` lacks it and if a few tensors have another type."""
    model = random_model()
    export_model(model, tmp_path, dtype=dtype)
    verify_export(model, tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({k: v for k, v in json.loads(config.read_text()).items() if k != "dtype"}))
    weights = load_file(tmp_path / "model.safetensors")
    save_file(weights | {"model.norm.weight": weights["model.norm.weight"].float()}, tmp_path / "model.safetensors")
    assert stored_dtype(tmp_path) == dtype
    weights["model.norm.weight"][3] += 1
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactDamaged, match=r"`model\.norm\.weight`"):
        verify_export(model, tmp_path)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
@pytest.mark.parametrize("sharded", [False, True])
def test_a_head_next_to_other_embeddings_is_not_tied(tmp_path: Path, family: str, sharded: bool) -> None:
    """If `config.json` sets tied embeddings but the stored head differs, the weights win, as in `transformers`."""
    config = transformers.AutoConfig.for_model(family, **SHAPE, tie_word_embeddings=False, initializer_range=0.3)
    torch.manual_seed(3)
    stock = transformers.AutoModelForCausalLM.from_config(config).eval()
    stock.save_pretrained(tmp_path, **({"max_shard_size": "40KB"} if sharded else {}))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tie_word_embeddings": True}))
    tokens = random_tokens()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert not model.config.tie_word_embeddings
    assert not check_model(tmp_path).tie_word_embeddings
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=2e-5, rtol=1e-5)
    export_model(model, tmp_path / "again")
    with torch.no_grad():
        again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again")
        torch.testing.assert_close(model(tokens), again(tokens).logits, atol=2e-5, rtol=1e-5)


def test_a_tied_head_may_be_stored_twice(tmp_path: Path) -> None:
    export_model(random_model(tie_word_embeddings=True), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()}, tmp_path / "model.safetensors"
    )
    assert load_config(tmp_path).tie_word_embeddings
    assert load_model(tmp_path).lm_head is None


def test_missing_left_over_and_misshapen_weights_are_one_error(tmp_path: Path) -> None:
    export_model(random_model(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["stray.weight"] = weights.pop("model.layers.1.mlp.up_proj.weight")
    weights["model.norm.weight"] = torch.ones(3)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(InputError) as caught:
        load_model(tmp_path)
    message = caught.value.message
    assert "`model.layers.1.mlp.up_proj.weight` is missing" in message
    assert "`stray.weight` is unexpected" in message
    assert "`model.norm.weight` has shape [3], not [48]" in message


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture `GPT2LMHeadModel`"),
        ({"attention_bias": True}, "`attention_bias`"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2}}, "`yarn`"),
        ({"num_key_value_heads": 3}, "must divide"),
        ({"head_dim": 15}, "even"),
    ],
)
def test_unsupported_configurations_are_refused(tmp_path: Path, change: dict, complaint: str) -> None:
    export_model(random_model(), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=complaint):
        load_model(tmp_path)


def test_damaged_or_absent_weights_are_refused(tmp_path: Path) -> None:
    export_model(random_model(), tmp_path / "whole")
    for name, spoil in {
        "cut": lambda path: path.write_bytes(path.read_bytes()[:1000]),
        "gone": lambda path: path.unlink(),
    }.items():
        shutil.copytree(tmp_path / "whole", tmp_path / name)
        spoil(tmp_path / name / "model.safetensors")
        with pytest.raises(InputError):
            load_model(tmp_path / name)
