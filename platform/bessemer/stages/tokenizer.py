"""tokenizer: trains a byte-level BPE tokenizer on the training split, or imports one from a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from bessemer.errors import InputError, NothingLeft
from bessemer.hashes import sha256_of
from bessemer.model.folder import tokenizer_files
from bessemer.recipe.inputs import Input
from bessemer.recipe.settings import execution
from bessemer.stages.base import Context, Draft, Inputs, RecipePath, Stage, StageConfig

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.tokens.tokenizer import TokenizerFolder


class Config(StageConfig):
    vocab_size: int = Field(32_768, ge=512, le=1 << 20)
    """Size of the vocabulary, including the 256 bytes and the special tokens."""
    sample_bytes: int = Field(256 << 20, ge=1 << 10, le=8 << 30)
    """Maximum number of bytes of text to train on; training needs about ten times as much memory."""
    path: RecipePath | None = execution(None)
    """A Hugging Face folder; the stage copies its tokenizer instead of training one."""
    chat_template: RecipePath | None = execution(None)
    """A file with the Jinja template of conversations. It replaces the template of `path`, or ChatML without `path`."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        trained = {"vocab_size", "sample_bytes"} & self.model_fields_set
        if self.path is not None and trained:
            names = " and ".join(f"`{name}`" for name in sorted(trained))
            raise ValueError(f"{names} cannot be set together with `path`, which imports a finished tokenizer")
        return self

    @property
    def decided_splits(self) -> tuple[str, ...]:
        return ()


def outside(config: Config) -> Any:
    """Identifies the content of the imported tokenizer and chat template. Raises InputError if they are not usable."""
    if config.path is not None:
        brought(config)
    elif config.chat_template is not None:
        _check_template(config)
    template = {"chat_template": _template(config)} if config.chat_template is not None else {}
    if config.path is None:
        return template or None
    files = tokenizer_files(Path(config.path))
    return dict(zip(files, sha256_of(list(files.values())), strict=True)) | template


def brought(config: Config) -> TokenizerFolder:
    """Returns the tokenizer in `path` with the recipe's chat template. Raises InputError if it is not usable."""
    assert config.path is not None
    files = tokenizer_files(Path(config.path)).values()
    found = _opened(config.path, tuple(file.stat().st_mtime_ns for file in files))
    return _with_template(found, config)


@lru_cache(maxsize=4)
def _opened(path: str, changed: tuple[int, ...]) -> TokenizerFolder:
    """Opens the tokenizer once per plan. Several stages check it, and reading 128 000 tokens takes a second."""
    from bessemer.tokens.tokenizer import TokenizerFolder

    return TokenizerFolder.open(Path(path))


def _with_template(tokenizer: TokenizerFolder, config: Config) -> TokenizerFolder:
    """Returns the tokenizer with the recipe's chat template, if there is one. Raises InputError if it is not usable."""
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.tokenizer import TokenizerFolder

    if config.chat_template is None:
        return tokenizer
    settings = tokenizer.settings | {"chat_template": _template(config)}
    found = TokenizerFolder(tokenizer.tokenizer, settings, tokenizer.name)
    ChatTemplate.of(found)
    return found


def _check_template(config: Config) -> None:
    """Raises InputError if a tokenizer that this stage trains could not use the recipe's chat template.

    Tries the template on the smallest possible tokenizer.
    """
    from bessemer.tokens.bpe_training import SMALLEST_VOCABULARY, train_tokenizer
    from bessemer.tokens.tokenizer import TokenizerFolder

    _with_template(TokenizerFolder.trained(train_tokenizer([], SMALLEST_VOCABULARY)), config)


def _template(config: Config) -> str:
    assert config.chat_template is not None
    try:
        return Path(config.chat_template).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"the chat template `{config.chat_template}` cannot be read: {error}",
            hint="set `chat_template` to the path of a Jinja template, relative to the recipe",
        ) from None


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    tokenizer = brought(config) if config.path else _with_template(_train(config, inputs, context), config)
    tokenizer.save(draft.data)
    draft.resolved["vocab_size"] = tokenizer.vocab_size
    draft.metrics["tokenizer/vocab_size"] = tokenizer.vocab_size


def _train(config: Config, inputs: Inputs, context: Context) -> TokenizerFolder:
    from bessemer.artifacts.tables import document_parts
    from bessemer.tokens.bpe_training import sample_texts, train_tokenizer
    from bessemer.tokens.tokenizer import TokenizerFolder

    parts = inputs["documents"].parts()
    tables = chain.from_iterable(document_parts(part, ["id", "text", "split"]) for part in parts)
    sample = sample_texts(_stoppable(tables, context), config.sample_bytes)
    if not sample:
        raise NothingLeft(
            "no document of the `train` split is left to train a tokenizer on",
            hint="run `bessemer show RUN STAGE --dropped` to see the removed documents, or import a tokenizer with "
            "`path`",
        )
    context.log.info("training on %d documents", len(sample))
    tokenizer = TokenizerFolder.trained(train_tokenizer(sample, config.vocab_size))
    if tokenizer.vocab_size < config.vocab_size:
        context.log.warning(
            "the text is only enough for %d tokens, fewer than `vocab_size` %d",
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
    version=2,
    config=Config,
    inputs=(Input("documents", needed=lambda config: config.path is None),),
    produces="tokenizer",
    run=run,
    libraries=("tokenizers",),
    outside=outside,
)
