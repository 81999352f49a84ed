"""base_model: imports an open checkpoint (a Hugging Face folder of the Llama or Qwen3 family) to train or evaluate it.

The stage copies the folder into the artifact, so that later changes to the folder do not matter. It first checks the
names and shapes of the weights. The stage `tokenizer` imports the checkpoint's tokenizer: `tokenizer: {path: ...}`.
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
from bessemer.stages.engine.context_length import of_checkpoint


class Config(StageConfig):
    path: RecipePath = execution(...)
    """Folder with `config.json`, safetensors files and the tokenizer's files."""


def outside(config: Config) -> Any:
    """Returns the SHA-256 of each model file by relative path.

    Raises InputError if the tokenizer has more tokens than the model's vocabulary.
    """
    from bessemer.tokens.tokenizer import TokenizerFolder

    folder = Path(config.path)
    files = model_files(folder)
    tokenizer = TokenizerFolder.open(folder)
    if (rows := vocabulary_size(folder)) < tokenizer.vocab_size:
        raise InputError(
            f"the model in `{folder}` has a vocabulary of {rows}, and its tokenizer one of {tokenizer.vocab_size}",
            hint="use the tokenizer that the model was trained with, or enlarge the model's embedding",
        )
    return dict(zip([str(file.relative_to(folder)) for file in files], sha256_of(files), strict=True))


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.model.hub import check_model

    folder = Path(config.path)
    shape = check_model(folder)
    if shape.is_reward:
        raise InputError(
            f"the model in `{folder}` is a reward model and cannot generate text",
            hint="set `path` to the language model that it was trained from",
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
