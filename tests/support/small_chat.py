"""A small model with a chat template, for tests of the stages after pre-training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from bessemer import storage
from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model
from bessemer.model.transformer import Transformer
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

CONTEXT = 64


def tokenizer_of(texts: Iterable[str], vocab_size: int = 400) -> TokenizerFolder:
    """A tokenizer that is trained on these texts, so it encodes them in few tokens."""
    return TokenizerFolder.trained(train_tokenizer(list(texts) * 5, vocab_size))


def write_model(folder: Path, tokenizer: Path, *, spread: float | None = None) -> None:
    """Writes a new model as a Hugging Face folder. `spread` sets the standard deviation of its random weights."""
    opened = TokenizerFolder.open(tokenizer)
    shape = ModelShape(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=32)
    model = Transformer(shape.resolve(vocab_size=opened.vocab_size, max_seq_length=CONTEXT))
    if spread is None:
        model.initialise(seed=0)
    else:
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.data.normal_(1.0 if parameter.ndim == 1 else 0.0, spread, generator=generator)
    export_model(model, folder, tokenizer=tokenizer, stop_ids=[opened.end_of_text_id])


def recorded(draft: Any) -> list[dict[str, float]]:
    """The metrics of every recorded step."""
    files = sorted((draft.path / "metrics").glob("*.jsonl"))
    return [line["metrics"] for file in files for line in storage.read_lines(file)]
