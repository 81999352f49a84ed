"""conversations: files of questions and answers, in the common formats, as tokens to fine-tune on.

Every row has a verdict; see `tokens.conversations` for the formats and `tokens.chat` for how messages become tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from bessemer.stages.base import Context, Draft, Inputs, Stage
from bessemer.stages.rows import RowsConfig, described, run_rows

if TYPE_CHECKING:
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.conversations import Messages


class Config(RowsConfig):
    require_answer: bool = True
    """Whether a row without an answer is removed; a prompt alone is enough for `align` to learn from its rewards."""


def outside(config: Config) -> Any:
    """The files, by content."""
    from bessemer.tokens.conversations import messages_of

    return described(config, partial(messages_of, answered=config.require_answer))


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.tokens.rows import CONVERSATIONS

    read = partial(_read, answered=config.require_answer)
    run_rows(config, inputs, draft, context, schema=CONVERSATIONS, read=read)


def _read(row: Any, template: ChatTemplate, *, answered: bool) -> tuple[Mapping[str, Any], Messages, int]:
    from bessemer.extract.plain import well_formed
    from bessemer.tokens.conversations import FIELDS, messages_of
    from bessemer.tokens.rows import conversation_columns

    messages = messages_of(row, answered=answered)
    others = {name: value for name, value in row.items() if name not in FIELDS}
    fields = well_formed(json.dumps(others, ensure_ascii=False))
    columns = conversation_columns(messages, template) | {"fields": fields}
    prompt = messages[:-1] if messages[-1]["role"] == "assistant" else messages
    return columns, prompt, len(columns["ids"])


STAGE = Stage(
    kind="conversations",
    version=3,
    config=Config,
    consumes=("tokenizer",),
    produces="conversations",
    run=run,
    libraries=("jinja2", "tokenizers"),
    outside=outside,
)
