"""The longest sequence of each model of a recipe, as far as the recipe says it before anything runs.

A stage that makes or uses a model states it as `Stage.context_length(config, start)`: `start` is the length of the
model that it starts from, or None if that is unknown. `plan` follows the models from stage to stage, so a sequence that
is too long for its model is an error before the first stage runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bessemer.errors import UsageError
from bessemer.model.folder import CONFIG
from bessemer.storage import read_foreign_json


def of_checkpoint(folder: Path) -> int | None:
    """The longest sequence of a Hugging Face model folder; None if its configuration does not say."""
    found = (read_foreign_json(folder / CONFIG) or {}).get("max_position_embeddings")
    return found if isinstance(found, int) else None


def check_max_seq_length(config: Any, start: int | None) -> int | None:
    """Returns `start`. Raises UsageError if the setting `max_seq_length` is larger."""
    if start is not None and config.max_seq_length > start:
        raise UsageError(
            f"the model sees {start} tokens, and `max_seq_length` is {config.max_seq_length}",
            hint=f"set `max_seq_length` to at most {start}",
        )
    return start


def check_max_completion_length(length: int, room: int | None) -> None:
    """Raises UsageError if an answer of `length` tokens leaves no room for a prompt."""
    if room is not None and length >= room:
        raise UsageError(
            f"a prompt and its answer have {room} tokens at most, and `max_completion_length` is {length}",
            hint=f"set `max_completion_length` to less than {room}, so that a prompt fits too",
        )
