"""base_model: an open checkpoint, a Hugging Face folder of the Llama or Qwen3 family, to train further or to evaluate.

The folder is copied into the artifact, because what it is made from later must not change; its weights are checked by
their names and shapes before anything else runs. Its tokenizer comes in by `tokenizer: {path: ...}`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.errors import InputError
from bessemer.hashes import sha256_of
from bessemer.model.folder import model_files, vocabulary_size
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig
from bessemer.stages.context_length import of_checkpoint


class Config(StageConfig):
    path: RecipePath = execution(...)
    """A folder with `config.json`, safetensors and the tokenizer's files."""


def outside(config: Config) -> Any:
    """The model's files, by content. Raises InputError if the model and its tokenizer do not fit."""
    from bessemer.tokens.tokenizer import TokenizerFolder

    folder = Path(config.path)
    files = model_files(folder)
    tokenizer = TokenizerFolder.open(folder)
    if (rows := vocabulary_size(folder)) < tokenizer.vocab_size:
        raise InputError(
            f"the model in `{folder}` has a vocabulary of {rows}, and its tokenizer one of {tokenizer.vocab_size}",
            hint="bring the tokenizer that the model was trained with, or enlarge the model's embedding",
        )
    return dict(zip([str(file.relative_to(folder)) for file in files], sha256_of(files), strict=True))


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.model.hub import check_model

    folder = Path(config.path)
    shape = check_model(folder)
    if shape.is_reward:
        raise InputError(
            f"the model in `{folder}` gives texts a score and cannot write", hint="name the model it was made of"
        )
    for file in model_files(folder):
        context.check_stop()
        target = draft.data / file.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        with storage.atomic_path(target) as temporary:
            shutil.copyfile(file, temporary)
    draft.resolved["model"] = shape.model_dump(mode="json")
    draft.metrics["model/parameters"] = shape.num_parameters()


def context_length(config: Config, start: int | None) -> int | None:
    return of_checkpoint(Path(config.path))


STAGE = Stage(
    kind="base_model",
    version=1,
    config=Config,
    produces="model",
    run=run,
    outside=outside,
    context_length=context_length,
)
