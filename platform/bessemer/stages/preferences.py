"""preferences: reads files of preferred and rejected answers in the common formats and tokenizes them for alignment.

Every row gets a verdict. `tokens.preferences` documents the formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bessemer.recipe.inputs import Input
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.engine.row_files import RowsConfig, check_rendered, described, run_rows

if TYPE_CHECKING:
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.conversations import Messages


class Config(RowsConfig):
    @classmethod
    def fields(cls) -> Sequence[str]:
        from bessemer.tokens.preferences import FIELDS

        return FIELDS


def outside(config: Config) -> Any:
    """Identifies the content of the files."""
    from bessemer.tokens.preferences import preference_of

    return described(config, partial(preference_of, columns=config.columns))


def check(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    """Raises InputError if the chat template of an imported tokenizer accepts none of the rows."""
    check_rendered(config, inputs, partial(_read, names=config.columns))


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.tokens.row_tables import PREFERENCES

    run_rows(config, inputs, draft, context, schema=PREFERENCES, read=partial(_read, names=config.columns))


def _read(row: Any, template: ChatTemplate, *, names: Mapping[str, str]) -> tuple[Mapping[str, Any], Messages, int]:
    from bessemer.tokens.preferences import preference_of
    from bessemer.tokens.row_tables import preference_columns

    preference = preference_of(row, columns=names)
    columns = preference_columns(preference, template)
    answers = [columns[side] for side in ("chosen_ids", "rejected_ids") if columns[side] is not None]
    return columns, preference.prompt, len(columns["prompt_ids"]) + max(map(len, answers))


STAGE = Stage(
    kind="preferences",
    version=6,
    config=Config,
    inputs=(Input("tokenizer"),),
    produces="preferences",
    run=run,
    libraries=("jinja2", "tokenizers"),
    outside=outside,
    verifies_reads=True,
    check=check,
)
