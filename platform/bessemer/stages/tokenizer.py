"""tokenizer: trains a byte-level BPE tokenizer on the training split, or takes one from a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from bessemer.errors import InputError, NothingLeft
from bessemer.fingerprint import file_sha256
from bessemer.model.folder import TOKENIZER_FILES
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.tokens.tokenizer import TokenizerFolder


class Config(StageConfig):
    vocab_size: int = Field(32_768, ge=512, le=1 << 20)
    """Tokens of the vocabulary, the 256 bytes and the special tokens included."""
    sample_bytes: int = Field(256 << 20, ge=1 << 10, le=8 << 30)
    """Bytes of training text to learn from at most; training takes about ten times as much memory."""
    path: RecipePath | None = execution(None)
    """A Hugging Face folder whose tokenizer is taken as it is, instead of training one."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        trained = {"vocab_size", "sample_bytes"} & self.model_fields_set
        if self.path is not None and trained:
            names = " and ".join(f"`{name}`" for name in sorted(trained))
            raise ValueError(f"{names} cannot be set together with `path`, which brings a finished tokenizer")
        return self

    @property
    def decided_splits(self) -> tuple[str, ...]:
        return ()

    @property
    def unused(self) -> tuple[str, ...]:
        return ("documents",) if self.path else ()


def outside(config: Config) -> Any:
    """The brought tokenizer, by content."""
    if config.path is None:
        return None
    found = {name: Path(config.path, name) for name in TOKENIZER_FILES}
    if not found["tokenizer.json"].is_file():
        raise InputError(
            f"`{config.path}` holds no `tokenizer.json`", hint="set `path` to a Hugging Face tokenizer or model folder"
        )
    return {name: file_sha256(path) for name, path in found.items() if path.is_file()}


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.tokens.tokenizer import TokenizerFolder

    tokenizer = TokenizerFolder.open(Path(config.path)) if config.path else _train(config, inputs, context)
    tokenizer.save(draft.data)
    draft.resolved["vocab_size"] = tokenizer.vocab_size
    draft.metrics["tokenizer/vocab_size"] = tokenizer.vocab_size


def _train(config: Config, inputs: Inputs, context: Context) -> TokenizerFolder:
    from bessemer.artifacts.tables import document_parts
    from bessemer.tokens.tokenizer import TokenizerFolder
    from bessemer.tokens.training import sample_texts, train_tokenizer

    parts = inputs["documents"].parts()
    tables = chain.from_iterable(document_parts(part, ["id", "text", "split"]) for part in parts)
    sample = sample_texts(_stoppable(tables, context), config.sample_bytes)
    if not sample:
        raise NothingLeft(
            "no document of the `train` split is left to train a tokenizer on",
            hint="look at what was removed with `bessemer show RUN STAGE --dropped`, or bring a tokenizer by `path`",
        )
    context.log.info("training on %d documents", len(sample))
    tokenizer = TokenizerFolder.trained(train_tokenizer(sample, config.vocab_size))
    if tokenizer.vocab_size < config.vocab_size:
        context.log.warning(
            "the text holds pairs for %d tokens only, fewer than vocab_size %d",
            tokenizer.vocab_size,
            config.vocab_size,
        )
    return tokenizer


def _stoppable(tables: Iterable[pa.Table], context: Context) -> Iterator[pa.Table]:
    for table in tables:
        context.check_stop()
        yield table


STAGE = Stage(
    kind="tokenizer",
    version=1,
    config=Config,
    consumes=("documents",),
    produces="tokenizer",
    run=run,
    libraries=("tokenizers",),
    outside=outside,
)
