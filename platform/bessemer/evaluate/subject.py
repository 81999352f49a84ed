"""The model under test, with its tokenizer: loaded once, asked by every task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from bessemer.generate.engine import Generator
from bessemer.model.transformer import Transformer
from bessemer.tokens.tokenizer import TokenizerFolder


@dataclass(frozen=True)
class Subject:
    """A model, ready to compute in its own number type on its own device."""

    generator: Generator

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype, device: torch.device) -> Subject:
        return cls(Generator.load(folder, dtype=dtype, device=device))

    @property
    def model(self) -> Transformer:
        return self.generator.model

    @property
    def tokenizer(self) -> TokenizerFolder:
        return self.generator.tokenizer

    @property
    def context(self) -> int:
        """Tokens that the model sees at most."""
        return self.model.config.max_position_embeddings

    @property
    def device(self) -> torch.device:
        return self.model.embed_tokens.device
