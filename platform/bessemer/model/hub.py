"""Exports models to Hugging Face folders, and loads folders of the Llama and Qwen3 families.

A folder has `config.json`, `model.safetensors` (or shards with an index), `generation_config.json` and the tokenizer's
files. Export splits fused matrices, and import joins them. Import reads one tensor at a time from a memory map. A
single error lists all weights that are missing, unexpected or of the wrong shape.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bessemer import storage
from bessemer.errors import ArtifactDamaged, InputError
from bessemer.model.config import MAXIMUM, ModelConfig
from bessemer.model.folder import tokenizer_files, weight_files
from bessemer.model.padding import set_padding_token
from bessemer.model.transformer import Transformer

FAMILIES = {"Qwen3ForCausalLM": True, "LlamaForCausalLM": False}  # architecture: whether it has qk_norm
REWARD_FAMILIES = {"Qwen3ForSequenceClassification": True, "LlamaForSequenceClassification": False}
MASKED = "BessemerForMaskedLM"
"""Our architecture name for a bidirectional model. Hugging Face's causal classes would load it wrongly."""
_SAME_NAME = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings",
    "initializer_range", "sliding_window",
)  # fmt: skip
_REQUIRED_VALUES = {
    "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "quantization_config": None,
}  # fmt: skip
_TYPES: dict[str, Any] = {
    **dict.fromkeys(_SAME_NAME, int | float | bool),
    **dict.fromkeys(
        (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "sliding_window",
            "max_window_layers",
        ),
        int | None,
    ),
    "rope_theta": int | float,
    "architectures": list | None,
    "layer_types": list | None,
    "rope_parameters": dict | None,
    "rope_scaling": dict | None,
}
_NUM_NAMED_WEIGHTS = 8
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_ROWS_AT_ONCE = 8192
_MAX_WINDOW_LAYERS = 28  # the default of Qwen3 configurations


def export_model(
    model: Transformer,
    folder: Path,
    *,
    tokenizer: Path | None = None,
    stop_ids: Sequence[int] = (),
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes `model` to `folder` in `dtype`, with the tokenizer files of the folder `tokenizer`.

    `stop_ids` are the tokens that end generation; they are written as `eos_token_id`. A reward model gets a padding
    token that is not one of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in _named_weights(model)}
    with storage.atomic_path(folder / "model.safetensors") as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
    if tokenizer is not None:
        copy_tokenizer(tokenizer, folder)
    padding = {}
    if model.config.is_reward:
        padding = {"pad_token_id": None if tokenizer is None else set_padding_token(folder, stop_ids)}
    storage.write_json(folder / "config.json", _config_to_json(model.config, dtype, stop_ids) | padding)
    generation = {"eos_token_id": _ends(stop_ids)} if stop_ids else {}
    storage.write_json(folder / "generation_config.json", generation)


def _ends(stop_ids: Sequence[int]) -> int | list[int] | None:
    """The value of `eos_token_id`: a single id, a list if there are several, or None."""
    return list(stop_ids) if len(stop_ids) > 1 else next(iter(stop_ids), None)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copies the tokenizer's files from `source` to `folder`. Raises InputError if `source` has no `tokenizer.json`."""
    if not (source / "tokenizer.json").is_file():
        raise InputError(f"`{source}` has no `tokenizer.json`", hint="name a folder made by the stage `tokenizer`")
    for name, file in tokenizer_files(source).items():
        with storage.atomic_path(folder / name) as temporary:
            shutil.copyfile(file, temporary)


def load_config(folder: Path) -> ModelConfig:
    """The configuration in a Hugging Face folder. Raises InputError for a family other than Llama and Qwen3.

    If the folder stores a head that differs from the embeddings, the model is untied, as in `transformers`, even if the
    file sets `tie_word_embeddings`.
    """
    raw = storage.read_foreign_json(folder / "config.json")
    if raw is None:
        raise InputError(
            f"`{folder}` is not a model folder: it has no `config.json`",
            hint="set the path of a Hugging Face model folder",
        )
    _check_types(raw, folder)
    architecture = (raw.get("architectures") or ["none"])[0]
    known = FAMILIES | REWARD_FAMILIES
    if architecture not in (*known, MASKED):
        raise InputError(
            f"`{folder}` contains a model of the unsupported architecture `{architecture}`",
            hint=f"use a model of one of the architectures {', '.join((*known, MASKED))}",
        )
    for key, value in _REQUIRED_VALUES.items():
        if raw.get(key, value) != value:
            raise InputError(
                f"`{folder}/config.json` sets `{key}` to `{raw[key]}`, which is not supported",
                hint="use a checkpoint without biases and quantization",
            )
    fields = {key: raw[key] for key in _SAME_NAME if raw.get(key) is not None}
    heads = fields.get("num_attention_heads", 1)
    fields.setdefault("num_key_value_heads", heads)
    fields.setdefault("head_dim", fields.get("hidden_size", 0) // max(heads, 1))
    fields.setdefault("tie_word_embeddings", False)
    if fields["tie_word_embeddings"] and _has_own_head(folder):
        fields["tie_word_embeddings"] = False
    fields |= _window_fields(raw)
    try:
        qk_norm = known.get(architecture, raw.get("qk_norm"))
        kind = {"is_causal": architecture != MASKED, "is_reward": architecture in REWARD_FAMILIES}
        return ModelConfig(**fields, **_rope_fields(raw, folder), qk_norm=qk_norm, **kind)
    except ValidationError as error:
        problems = "; ".join(f"`{'.'.join(map(str, e['loc']))}`: {e['msg']}" for e in error.errors())
        raise InputError(f"`{folder}/config.json` is not valid: {problems}", hint="correct the file") from None


def _check_types(raw: dict[str, Any], folder: Path) -> None:
    """Raises InputError for a value of a `config.json` that has another JSON type than `transformers` writes."""
    for key, kind in _TYPES.items():
        value = raw.get(key)
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and bool not in get_args(kind))
        if value is not None and wrong:
            shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
            raise InputError(f"`{folder}/config.json` is not valid: `{key}` is `{shown}`", hint="correct the file")


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    config: ModelConfig | None = None,
) -> Transformer:
    """Loads the model in a Hugging Face folder, with parameters and activations in `dtype`.

    `config` replaces the folder's configuration, for example for a longer context. If `config` turns a language model
    into a reward model, its score is zero for every text. Raises InputError if the weights do not fit.
    """
    stored = load_config(folder)
    config = config or stored
    with torch.device("meta"):
        model = Transformer(config, compute_dtype=dtype)
    model.to_empty(device=device).to(dtype)
    with torch.no_grad():
        if model.score is not None:
            model.score.zero_()
        new = "score.weight" if config.is_reward and not stored.is_reward else None
        for place, file, name in _matched(model, folder, but=new):
            place.copy_(file.get_tensor(name))
    return model


def verify_export(model: Transformer, folder: Path) -> None:
    """Raises ArtifactDamaged if the weights in `folder` differ from those of `model`, rounded to the stored dtype."""
    for place, file, name in _matched(model, folder):
        stored = file.get_tensor(name)
        if not torch.equal(stored, place.to("cpu", stored.dtype)):
            raise ArtifactDamaged(
                f"`{name}` in `{folder}` differs from the exported weight",
                hint="check the disk, then run the same command again",
            )


def check_model(folder: Path) -> ModelConfig:
    """The configuration of a folder. Raises InputError if names or shapes of the weights do not fit it."""
    config = load_config(folder)
    with torch.device("meta"):
        model = Transformer(config)
    list(_matched(model, folder))
    return config


def _matched(model: Transformer, folder: Path, but: str | None = None) -> Iterator[tuple[Tensor, Any, str]]:
    """Yields (tensor in the model, file, name) for every weight except `but`.

    Raises InputError at the end if any weights are missing, unexpected or of the wrong shape.
    """
    places = {name: place for name, place in _named_weights(model) if name != but}
    problems = []
    for file, name in _stored(folder):
        place = places.pop(name, None)
        shape = file.get_slice(name).get_shape()
        if place is None:
            if name.endswith("rotary_emb.inv_freq") or (name == "lm_head.weight" and model.lm_head is None):
                continue  # older exports store the rotary table, and a copy of a tied head; see `_has_own_head`
            problems.append(f"`{name}` is unexpected")
        elif list(place.shape) != shape:
            problems.append(f"`{name}` has shape {shape}, not {list(place.shape)}")
        else:
            yield place, file, name
    problems += [f"`{name}` is missing" for name in places]
    if problems:
        shown = ", ".join(problems[:_NUM_NAMED_WEIGHTS])
        more = f" and {len(problems) - _NUM_NAMED_WEIGHTS} more" if len(problems) > _NUM_NAMED_WEIGHTS else ""
        raise InputError(
            f"the weights in `{folder}` do not fit its `config.json`: {shown}{more}",
            hint="check that configuration and weights belong together and that no shard is missing",
        )


def stored_dtype(folder: Path) -> torch.dtype:
    """The number type of the weights in a Hugging Face folder, which is that of the largest tensor.

    Raises InputError for types other than float32, bfloat16 and float16.
    """
    sizes: dict[str, int] = {}
    for file, name in _stored(folder):
        weight = file.get_slice(name)
        sizes[weight.get_dtype()] = max(sizes.get(weight.get_dtype(), 0), math.prod(weight.get_shape()))
    found = max(sizes, key=lambda name: sizes[name], default="F32")
    if found not in _DTYPES:
        raise InputError(
            f"the weights in `{folder}` have the unsupported number type `{found}`",
            hint="use float32, bfloat16 or float16 weights",
        )
    return _DTYPES[found]


def _has_own_head(folder: Path) -> bool:
    """Whether the folder stores a head that differs from the embeddings."""
    if not all(path.is_file() for path in weight_files(folder)):
        return False
    head, embeddings = "lm_head.weight", "model.embed_tokens.weight"
    found = {name: file.get_slice(name) for file, name in _stored(folder) if name in (head, embeddings)}
    if len(found) < 2 or found[head].get_shape() != found[embeddings].get_shape():
        return False
    count = found[head].get_shape()[0]
    rows = (slice(first, first + _ROWS_AT_ONCE) for first in range(0, count, _ROWS_AT_ONCE))
    return not all(torch.equal(found[head][part], found[embeddings][part]) for part in rows)


def _named_weights(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """Yields (Hugging Face name, view of the parameter) for every weight of the exported model."""
    c = model.config
    yield "model.embed_tokens.weight", model.embed_tokens.data
    for number, block in enumerate(model.blocks()):
        prefix = f"model.layers.{number}."
        q, k, v = torch.split(block.qkv.data, [c.query_size, c.key_value_size, c.key_value_size])
        gate, up = block.gate_up.data.chunk(2)
        yield prefix + "input_layernorm.weight", block.attention_norm.data
        yield prefix + "self_attn.q_proj.weight", q
        yield prefix + "self_attn.k_proj.weight", k
        yield prefix + "self_attn.v_proj.weight", v
        if c.qk_norm:
            yield prefix + "self_attn.q_norm.weight", block.query_norm.data
            yield prefix + "self_attn.k_norm.weight", block.key_norm.data
        yield prefix + "self_attn.o_proj.weight", block.out.data
        yield prefix + "post_attention_layernorm.weight", block.feed_forward_norm.data
        yield prefix + "mlp.gate_proj.weight", gate
        yield prefix + "mlp.up_proj.weight", up
        yield prefix + "mlp.down_proj.weight", block.down.data
    yield "model.norm.weight", model.norm.data
    if model.lm_head is not None:
        yield "lm_head.weight", model.lm_head.data
    if model.score is not None:
        yield "score.weight", model.score.data


def _stored(folder: Path) -> Iterator[tuple[Any, str]]:
    """Yields (open file, name) for every stored weight."""
    for path in weight_files(folder):
        if path.suffix == ".json":
            continue
        if not path.is_file():
            raise InputError(
                f"`{folder}` lacks the weights file `{path.name}`",
                hint="download the complete folder, including safetensors files",
            )
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 (not a mapping)
                    yield file, key
        except SafetensorError as error:
            raise InputError(f"`{path}` is damaged: {error}", hint="download or export the model again") from None


def _rope_fields(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`rope_theta` and `rope_scaling` from either format: `rope_parameters` (new) or two fields (old)."""
    parameters = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    kind = parameters.pop("rope_type", parameters.pop("type", "default"))
    theta = parameters.pop("rope_theta", None) or raw.get("rope_theta")
    fields: dict[str, Any] = {} if theta is None else {"rope_theta": theta}
    if kind == "llama3":
        fields["rope_scaling"] = parameters
    elif kind != "default":
        raise InputError(
            f"`{folder}/config.json` scales rotary positions by `{kind}`, which is not supported",
            hint="use a checkpoint with `default` or `llama3` rotary positions",
        )
    return fields


def _window_fields(raw: dict[str, Any]) -> dict[str, Any]:
    """`sliding_window` and `layer_types`. The window is ignored unless `use_sliding_window` is set."""
    if not raw.get("use_sliding_window") or not raw.get("sliding_window"):
        return {"sliding_window": None}
    count = min(raw.get("num_hidden_layers") or 0, MAXIMUM["num_hidden_layers"] + 1)  # `ModelConfig` refuses more
    full = raw.get("max_window_layers") or _MAX_WINDOW_LAYERS
    types = raw.get("layer_types") or ["full_attention"] * min(full, count) + ["sliding_attention"] * (count - full)
    return {"sliding_window": raw["sliding_window"], "layer_types": types}


def _config_to_json(config: ModelConfig, dtype: torch.dtype, stop_ids: Sequence[int]) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling is not None:
        rope |= {"rope_type": "llama3"} | json.loads(config.rope_scaling.model_dump_json())
    families = REWARD_FAMILIES if config.is_reward else FAMILIES
    architecture = next(name for name, qk_norm in families.items() if qk_norm == config.qk_norm)
    model_type = "qwen3" if config.qk_norm else "llama"
    ours: dict[str, Any] = {} if config.is_causal else {"qk_norm": config.qk_norm}
    if not config.is_causal:
        architecture, model_type = MASKED, "bessemer_masked_lm"
    if config.is_reward:
        ours |= {"id2label": {"0": "reward"}, "label2id": {"reward": 0}}
    if config.layer_types is not None:
        ours |= {"layer_types": config.layer_types, "max_window_layers": 0}
    return (
        {key: getattr(config, key) for key in _SAME_NAME}
        | ours
        | {
            "architectures": [architecture],
            "model_type": model_type,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "use_cache": True,
            "use_sliding_window": config.sliding_window is not None,
            "rope_theta": config.rope_theta,
            "rope_parameters": rope,
            "dtype": str(dtype).removeprefix("torch."),
            "bos_token_id": None,
            "eos_token_id": _ends(stop_ids),
        }
    )
