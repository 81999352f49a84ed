"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685): for each chosen matrix W, only a change B A is trained.

    add_adapters(model, LoraSettings(r=16), seed=0)      freezes the model, gives it adapters
    merge_adapters(model)                                W + (lora_alpha / r) B A in place of W
    write_adapters(model, settings, folder)              a folder that `peft` loads

The change is added to the weight before the product. Every kernel of the network therefore works for adapted models,
and training computes exactly the outputs of the merged model. The cost is that the full weight gradient is computed,
one matrix at a time, as in full fine-tuning. LoRA saves the memory of that gradient and of the optimizer state.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from bessemer import storage
from bessemer.model.config import PROJECTIONS, LoraSettings
from bessemer.model.transformer import FUSED, Adapter, Block, Transformer, generator_for

_PLACES: dict[str, str] = {name: "self_attn" if name in PROJECTIONS[:4] else "mlp" for name in PROJECTIONS}
"""The module of Hugging Face's Llama and Qwen3 that contains each projection."""


def add_adapters(model: Transformer, settings: LoraSettings, *, seed: int) -> None:
    """Freezes `model` and adds adapters that do not change its output yet: A is uniform, as in `peft`, and B is zero.

    The score of a reward model stays trainable, because it is new.
    """
    model.requires_grad_(False)
    if model.score is not None:
        model.score.requires_grad_(True)
    for number, block in enumerate(model.blocks()):
        for matrix, parts in FUSED.items():
            weight: Tensor = getattr(block, matrix)
            for name, rows in zip(parts, block.rows(matrix), strict=True):
                if name in settings.target_modules:
                    adapter = Adapter(rows, weight.shape[1], settings.r, settings.lora_alpha / settings.r)
                    adapter.initialise(generator_for(seed, f"layers.{number}.{name}"))
                    block.adapters[name] = adapter.to(weight.device)


@torch.no_grad()
def merge_adapters(model: Transformer) -> None:
    """Adds the adapters' changes to the weights and removes the adapters. Does nothing without adapters."""
    for block in model.blocks():
        if block.adapters:
            for matrix in FUSED:
                getattr(block, matrix).copy_(block.matrix(matrix))
            block.adapters.clear()


def write_adapters(model: Transformer, settings: LoraSettings, folder: Path, *, base: Path) -> None:
    """Writes `adapter_config.json` and `adapter_model.safetensors` in the format of `peft`.

    `base` is the folder of the base model.
    """
    weights = {}
    for number, block in enumerate(model.blocks()):
        for name, adapter in _adapters(block):
            prefix = f"base_model.model.model.layers.{number}.{_PLACES[name]}.{name}"
            weights[f"{prefix}.lora_A.weight"] = adapter.down.detach().cpu().contiguous()
            weights[f"{prefix}.lora_B.weight"] = adapter.up.detach().cpu().contiguous()
    if model.score is not None:
        weights["base_model.model.score.weight"] = model.score.detach().cpu().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    with storage.atomic_path(folder / "adapter_model.safetensors") as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
    described = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if model.score is None else "SEQ_CLS",
        "r": settings.r,
        "lora_alpha": settings.lora_alpha,
        "lora_dropout": 0.0,
        "target_modules": list(settings.target_modules),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "modules_to_save": None if model.score is None else ["score"],
        "base_model_name_or_path": str(base.absolute()),
    }
    storage.write_json(folder / "adapter_config.json", described)


def _adapters(block: Block) -> Iterator[tuple[str, Adapter]]:
    for name, adapter in block.adapters.items():
        assert isinstance(adapter, Adapter)
        yield name, adapter
