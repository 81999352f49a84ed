"""Writes a small random model with its tokenizer to a folder. The model is the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model
from bessemer.model.transformer import Transformer
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder


def make_tiny_model(path: Path, texts: Iterable[str], *, max_seq_length: int) -> None:
    """The weights are large, so that answers vary with the prompt."""
    tokenizer = TokenizerFolder.trained(train_tokenizer(list(texts), vocab_size=320))
    tokenizer.save(path)
    shape = ModelShape(size="nano", num_hidden_layers=2, hidden_size=64, num_attention_heads=4)
    model = Transformer(shape.resolve(vocab_size=tokenizer.vocab_size, max_seq_length=max_seq_length))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.15, generator=generator)
    export_model(model, path, stop_ids=[tokenizer.end_of_text_id])
