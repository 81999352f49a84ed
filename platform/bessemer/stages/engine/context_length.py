"""The context length (longest sequence, in tokens) of each model of a recipe, computed before the recipe runs.

A stage that makes or uses a model returns this length from `Stage.context_length(config, start)`. `start` is the
context length of its start model, or None if it is unknown. `plan` passes the lengths from stage to stage, so it
reports a sequence that is too long for its model before the first stage runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bessemer.errors import UsageError
from bessemer.model.folder import CONFIG
from bessemer.storage import read_foreign_json


def of_checkpoint(folder: Path) -> int | None:
    """Returns the context length of a Hugging Face model folder, or None if its `config.json` has none."""
    found = (read_foreign_json(folder / CONFIG) or {}).get("max_position_embeddings")
    return found if isinstance(found, int) else None


def check_max_seq_length(config: Any, start: int | None) -> int | None:
    """Returns `start`. Raises UsageError if the setting `max_seq_length` is larger."""
    if start is not None and config.max_seq_length > start:
        raise UsageError(
            f"the model has a context of {start} tokens, and `max_seq_length` is {config.max_seq_length}",
            hint=f"set `max_seq_length` to at most {start}",
        )
    return start


def check_max_completion_length(length: int, room: int | None) -> None:
    """Raises UsageError if an answer of `length` tokens leaves no space for a prompt in a context of `room` tokens."""
    if room is not None and length >= room:
        raise UsageError(
            f"a prompt and its answer have {room} tokens at most, and `max_completion_length` is {length}",
            hint=f"set `max_completion_length` to less than {room}, so that there is space for a prompt",
        )
