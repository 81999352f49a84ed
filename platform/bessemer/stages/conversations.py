"""conversations: reads files of questions and answers in the common formats and tokenizes them for fine-tuning.

Every row gets a verdict. `tokens.conversations` documents the formats, and `tokens.chat` turns messages into tokens.
"""

from __future__ import annotations

import json
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
    require_answer: bool = True
    """Whether to remove rows without an answer. The stages `reinforce` and `pairs` need only prompts."""

    @classmethod
    def fields(cls) -> Sequence[str]:
        from bessemer.tokens.conversations import FIELDS

        return FIELDS


def outside(config: Config) -> Any:
    """Identifies the content of the files."""
    from bessemer.tokens.conversations import dialogue_of

    return described(config, partial(dialogue_of, answered=config.require_answer, columns=config.columns))


def check(config: Config, inputs: Mapping[str, StageConfig]) -> None:
    """Raises InputError if the chat template of an imported tokenizer accepts none of the rows."""
    check_rendered(config, inputs, partial(_read, answered=config.require_answer, names=config.columns))


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.tokens.row_tables import CONVERSATIONS

    read = partial(_read, answered=config.require_answer, names=config.columns)
    run_rows(config, inputs, draft, context, schema=CONVERSATIONS, read=read)


def _read(
    row: Any, template: ChatTemplate, *, answered: bool, names: Mapping[str, str]
) -> tuple[Mapping[str, Any], Messages, int]:
    from bessemer.extract.plain import well_formed
    from bessemer.tokens.conversations import dialogue_of
    from bessemer.tokens.row_tables import conversation_columns

    found = dialogue_of(row, answered=answered, columns=names)
    columns = conversation_columns(found.messages, template, found.variables)
    columns["fields"] = well_formed(json.dumps(found.fields, ensure_ascii=False))
    prompt = found.messages[:-1] if found.messages[-1]["role"] == "assistant" else found.messages
    return columns, prompt, len(columns["ids"])


STAGE = Stage(
    kind="conversations",
    version=5,
    config=Config,
    inputs=(Input("tokenizer"),),
    produces="conversations",
    run=run,
    libraries=("jinja2", "tokenizers"),
    outside=outside,
    verifies_reads=True,
    check=check,
)
