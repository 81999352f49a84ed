"""Exports the model of a training run as a Hugging Face folder, and reads it back to verify it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bessemer.model.config import LoraSettings, ModelConfig
from bessemer.model.hub import export_model, load_model, verify_export
from bessemer.model.lora import add_adapters, merge_adapters, write_adapters
from bessemer.model.transformer import Transformer

_PREFIX = "parameter/model."


@dataclass(frozen=True)
class Exporter:
    """Writes models in `dtype`, with the files of the folder `tokenizer`. Generation stops at any of `stop_ids`.

    With `lora`, the weights have the adapters merged in, and the adapters alone go to the subfolder `adapter`. `start`
    is the base model's folder.
    """

    config: ModelConfig
    tokenizer: Path | None = None
    stop_ids: tuple[int, ...] = ()
    lora: LoraSettings | None = None
    start: Path | None = None
    dtype: torch.dtype = torch.float32

    def __call__(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        """Writes a model to `folder`. `tensors` are the tensors of a checkpoint, named as in `train.state`.

        Without `lora`, no tensor is copied. Raises ArtifactDamaged if the written model differs when read back.
        """
        weights = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)}
        if self.lora is None:
            with torch.device("meta"):
                model = Transformer(self.config)
            model.load_state_dict(weights, assign=True)
        else:
            assert self.start is not None
            model = load_model(self.start, config=self.config)
            add_adapters(model, self.lora, seed=0)
            model.load_state_dict(weights, strict=False)
            write_adapters(model, self.lora, folder / "adapter", base=self.start)
            merge_adapters(model)
        export_model(model, folder, tokenizer=self.tokenizer, stop_ids=self.stop_ids, dtype=self.dtype)
        verify_export(model, folder)
