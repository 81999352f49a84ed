"""The files of a Hugging Face model folder. This module does not import torch, so `bessemer plan` can use it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from bessemer import storage
from bessemer.errors import InputError
from bessemer.tokens.special import NAMED_TEMPLATES

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"


def tokenizer_files(folder: Path) -> dict[str, Path]:
    """The tokenizer's files in a folder, by their names relative to the folder."""
    found = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    return {str(file.relative_to(folder)): file for file in [*found, *sorted(folder.glob(NAMED_TEMPLATES))]}


def vocabulary_size(folder: Path) -> int:
    """The vocabulary size in a model's configuration. Raises InputError if the configuration lacks it."""
    try:
        return int((storage.read_foreign_json(folder / CONFIG) or {})["vocab_size"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"`{folder / CONFIG}` has no `vocab_size`", hint="set the path of a complete Hugging Face model folder"
        ) from None


def weight_files(folder: Path) -> list[Path]:
    """The weight files in a folder; for sharded weights, the index first. Raises InputError for an invalid index."""
    index = folder / INDEX
    if not index.exists():
        return [folder / WEIGHTS]
    try:
        names = sorted(set(storage.read_json(index)["weight_map"].values()))
        if outside := [name for name in names if not _is_inside(name)]:
            raise InputError(
                f"`{index}` names a file outside its folder, `{outside[0]}`", hint="fetch the model's folder again"
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"`{index}` is not an index of weights", hint="download the model's folder again") from None
    return [index, *(folder / name for name in names)]


def _is_inside(name: str) -> bool:
    """Whether a file name of an index is relative and has no `..`. Raises TypeError if it is not text."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def model_files(folder: Path) -> list[Path]:
    """The files of configuration, weights and tokenizer. Raises InputError if a required file is missing."""
    needed = [folder / CONFIG, *weight_files(folder), folder / TOKENIZER_FILES[0]]
    for file in needed:
        if not file.is_file():
            raise InputError(
                f"`{folder}` is not a complete model folder: it lacks `{file.name}`",
                hint="set the path of a complete Hugging Face model folder, with safetensors and `tokenizer.json`",
            )
    optional = [*tokenizer_files(folder).values(), folder / "generation_config.json"]
    return [*needed, *(file for file in optional if file not in needed and file.is_file())]
