"""preferences: files of answers that people liked more or less, in the common formats, as tokens to align with.

Every row has a verdict; see `tokens.preferences` for the formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bessemer.stages.base import Context, Draft, Inputs, Stage
from bessemer.stages.rows import RowsConfig, described, run_rows

if TYPE_CHECKING:
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.conversations import Messages


class Config(RowsConfig):
    pass


def outside(config: Config) -> Any:
    """The files, by content."""
    from bessemer.tokens.preferences import preference_of

    return described(config, preference_of)


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.tokens.rows import PREFERENCES

    run_rows(config, inputs, draft, context, schema=PREFERENCES, read=_read)


def _read(row: Any, template: ChatTemplate) -> tuple[Mapping[str, Any], Messages, int]:
    from bessemer.tokens.preferences import preference_of
    from bessemer.tokens.rows import preference_columns

    preference = preference_of(row)
    columns = preference_columns(preference, template)
    answers = [columns[side] for side in ("chosen_ids", "rejected_ids") if columns[side] is not None]
    return columns, preference.prompt, len(columns["prompt_ids"]) + max(map(len, answers))


STAGE = Stage(
    kind="preferences",
    version=3,
    config=Config,
    consumes=("tokenizer",),
    produces="preferences",
    run=run,
    libraries=("jinja2", "tokenizers"),
    outside=outside,
)
