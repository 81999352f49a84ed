"""Checks, before a worker starts, that the model, tokenizer, rows and settings of a training stage fit together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts.store import Artifact
from bessemer.errors import UsageError
from bessemer.model.config import LoraSettings, ModelConfig
from bessemer.model.folder import vocabulary_size
from bessemer.stages.base import StageConfig
from bessemer.stages.engine.context_length import check_max_seq_length
from bessemer.train.settings import TrainSettings


def check_lora(lora: LoraSettings | None, model: ModelConfig) -> None:
    """Raises UsageError if the rank of the adapters is larger than the hidden size of the model."""
    if lora is not None and lora.r > model.hidden_size:
        raise UsageError(
            f"`r` of `lora` is {lora.r}, and the model's hidden size is {model.hidden_size}",
            hint=f"set `r` to at most {model.hidden_size}; common values are 8 to 256",
        )


def check_start(
    settings: TrainSettings, model: Artifact, tokenizer: Artifact, rows: Artifact
) -> tuple[ModelConfig, tuple[int, ...]]:
    """Returns the shape of the start model and the ids of the tokens that end its answers.

    Raises UsageError if the model, the tokenizer, the chat rows and the settings do not fit together.
    """
    found, stop_ids = check_chat(model, tokenizer, rows)
    check_max_seq_length(settings, found.max_position_embeddings)
    return found, stop_ids


def check_chat(model: Artifact, tokenizer: Artifact, rows: Artifact) -> tuple[ModelConfig, tuple[int, ...]]:
    """Returns the shape of a model and the ids of the tokens that end its answers.

    Raises UsageError if the model, the tokenizer and the chat rows do not fit together.
    """
    from bessemer.model.hub import load_config
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.tokenizer import TokenizerFolder

    found, name = load_config(model.data), rows.manifest.kind
    if not found.is_causal:
        raise UsageError(
            "the model was trained to fill in masked tokens and cannot generate answers",
            hint="start from a causal model",
        )
    opened = TokenizerFolder.open(tokenizer.data)
    check_tokenizer(model.data, opened.vocab_size, tokenizer.data)
    used = rows.manifest.inputs.get("tokenizer")
    if used and used["digest"] != tokenizer.manifest.digest:
        raise UsageError(
            f"the {name} were made with another tokenizer or chat template than this stage uses",
            hint=f"name the same tokenizer in `from` of both stages, or put the {name} below the tokenizer",
        )
    return found, ChatTemplate.of(opened).stop_ids


def check_brought(config: Any, inputs: Mapping[str, StageConfig]) -> None:
    """For `plan`: raises UsageError if an imported checkpoint and an imported tokenizer do not fit together."""
    from bessemer.stages import base_model, tokenizer

    model, tokens = inputs.get("model"), inputs.get("tokenizer")
    if isinstance(model, base_model.Config) and isinstance(tokens, tokenizer.Config) and tokens.path is not None:
        check_tokenizer(Path(model.path), tokenizer.brought(tokens).vocab_size, Path(tokens.path))


def check_tokenizer(start: Path, vocab_size: int, tokenizer: Path) -> None:
    """Raises UsageError if the model in `start` was trained with another tokenizer than the one in `tokenizer`."""
    found = vocabulary_size(start)
    if found < vocab_size:  # more rows than tokens are common: tables are padded
        raise UsageError(
            f"the model to continue from has a vocabulary of {found}, the tokens one of {vocab_size}",
            hint="tokenize with the model's own tokenizer",
        )
    theirs, ours = (storage.read_json(folder / "tokenizer.json") for folder in (start, tokenizer))
    if theirs is not None and theirs["model"]["vocab"] != ours["model"]["vocab"]:
        raise UsageError(
            "the model to continue from was made with another tokenizer than the tokens",
            hint="tokenize with the model's own tokenizer: `tokenizer: {path: ...}` takes a model's folder",
        )
