"""Models out of a training run, as Hugging Face folders that were read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bessemer.model.config import ModelConfig
from bessemer.model.hub import export_model, verify_export
from bessemer.model.transformer import Transformer


@dataclass(frozen=True)
class Exporter:
    """Writes models with `tokenizer`, a folder; `end_of_text_id` is the token at which generation ends."""

    config: ModelConfig
    tokenizer: Path | None = None
    end_of_text_id: int | None = None

    def model(self, folder: Path, model: Transformer) -> None:
        """Exports a whole model in main memory. Raises ArtifactDamaged where it cannot be read back as it is."""
        export_model(model, folder, tokenizer=self.tokenizer, end_of_text_id=self.end_of_text_id)
        verify_export(model, folder)

    def tensors(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        """The same with the tensors of a checkpoint, by their names in `train.state`; nothing is copied."""
        with torch.device("meta"):
            model = Transformer(self.config)
        prefix = "parameter/model."
        weights = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        model.load_state_dict(weights, assign=True)
        self.model(folder, model)
