"""The tables of the conversation and preference artifacts: their columns, and functions to make and read them.

Both have `id`, `url`, `source`, `split` (`tune`, `validation`, `test`), the messages, the template's variables (`tools`
and others, as JSON), and the tokens that the tokenizer's chat template gives. Training therefore renders no templates.

    conversations   messages, fields (the row's other columns, as JSON), ids, learned (whether a token is in the loss),
                    prompt_length (tokens before the last answer)
    preferences     prompt, chosen, rejected (messages; an unpaired row has one side), and the ids of each

A message has `role`, `content` and `fields`, its other keys as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bessemer.artifacts.descriptions import Reason
from bessemer.artifacts.documents import read_parquet
from bessemer.artifacts.ledger import Removed
from bessemer.tokens.chat import ASSISTANT, ChatTemplate, Message, TemplateRefusal, Variables
from bessemer.tokens.chat_jinja import REASONING_KEYS
from bessemer.tokens.conversations import Messages
from bessemer.tokens.preferences import Preference

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("fields", pa.string())]))
_IDS = pa.list_(pa.int32())
_NAMES = [pa.field(name, pa.string(), nullable=False) for name in ("id", "url", "source", "split")]

CONVERSATIONS = pa.schema(
    [
        *_NAMES,
        pa.field("messages", _MESSAGES, nullable=False),
        pa.field("variables", pa.string()),
        pa.field("fields", pa.string(), nullable=False),
        pa.field("ids", _IDS, nullable=False),
        pa.field("learned", pa.list_(pa.bool_()), nullable=False),
        pa.field("prompt_length", pa.int32(), nullable=False),
    ]
)
PREFERENCES = pa.schema(
    [
        *_NAMES,
        pa.field("variables", pa.string()),
        pa.field("prompt", _MESSAGES, nullable=False),
        pa.field("chosen", _MESSAGES),
        pa.field("rejected", _MESSAGES),
        pa.field("prompt_ids", _IDS, nullable=False),
        pa.field("chosen_ids", _IDS),
        pa.field("rejected_ids", _IDS),
    ]
)


RULES: Mapping[str, Reason] = {
    "refused_by_template": Reason("The chat template raises an error for the row."),
    "not_in_template": Reason("The chat template leaves out a part of the row."),
    "prompt_changes": Reason("The chat template writes the prompt differently after it is answered."),
    "no_end": Reason("The chat template writes no end after an answer, so its end could not be learned."),
    "too_long": Reason("More tokens than the context; rows are not cut.", "`max_seq_length`"),
}
"""Rules by which the chat template and the context reject a row, in addition to those of the formats."""


def conversation_columns(
    messages: Messages, template: ChatTemplate, variables: Variables | None = None
) -> dict[str, Any]:
    """The columns of a conversation. Without a last answer, the tokens are those of the prompt, and none is learned.

    Raises Removed if the template rejects the conversation, leaves out a part of it, or renders its prompt differently
    once it is answered.
    """
    variables = variables or {}
    given = written_calls(messages, template, variables)
    try:
        _check_written(given, template, variables)
        if given[-1]["role"] != ASSISTANT:
            ids = template.prompt(given, variables)
            learned, start = np.zeros(len(ids), np.bool_), len(ids)
        else:
            encoded = template.encode(given, variables)
            if encoded.start is None:
                raise Removed("no_end" if encoded.endless else "prompt_changes", encoded.problem)
            end = encoded.last_end
            ids, learned, start = encoded.ids[:end], encoded.learned[:end], encoded.start
    except TemplateRefusal as refusal:
        raise Removed("refused_by_template", refusal.message) from None
    return {
        "messages": [stored_message(message) for message in given],
        "variables": json.dumps(variables, ensure_ascii=False) if variables else None,
        "ids": ids,
        "learned": learned,
        "prompt_length": start,
    }


def preference_columns(preference: Preference, template: ChatTemplate) -> dict[str, Any]:
    """The columns of a preference. Raises Removed like `conversation_columns`, and if both answers are identical."""
    asked = conversation_columns(preference.prompt, template, preference.variables)
    found: dict[str, Any] = {
        "prompt": asked["messages"],
        "variables": asked["variables"],
        "prompt_ids": asked["ids"],
    }
    for side, answer in (("chosen", preference.chosen), ("rejected", preference.rejected)):
        found |= {side: None, f"{side}_ids": None}
        if answer is not None:
            whole = conversation_columns([*preference.prompt, *answer], template, preference.variables)
            if not np.array_equal(whole["ids"][: len(asked["ids"])], asked["ids"]):
                raise Removed("prompt_changes", "the chat template writes the prompt otherwise once it is answered")
            found[side] = whole["messages"][len(preference.prompt) :]
            found[f"{side}_ids"] = whole["ids"][len(asked["ids"]) :]
    if np.array_equal(found["chosen_ids"], found["rejected_ids"]):
        raise Removed("identical_answers", "the chat template writes both answers in the same way")
    return found


def stored_message(message: Message) -> dict[str, Any]:
    """A message as it is stored in the tables, with its other keys as JSON."""
    others = {key: value for key, value in message.items() if key not in ("role", "content")}
    fields = json.dumps(others, ensure_ascii=False) if others else None
    return {"role": message["role"], "content": message["content"], "fields": fields}


def written_calls(messages: Sequence[Message], template: ChatTemplate, variables: Variables) -> Messages:
    """The messages. If the template does not support tool calls, they become text in the format of Hermes."""
    if template.writes("tool_calls", variables):
        return [dict(message) for message in messages]
    found = []
    for message in messages:
        given = dict(message)
        calls = given.pop("tool_calls", [])
        given["content"] = "\n".join(
            [*([given["content"]] if given["content"] or not calls else []), *map(_call, calls)]
        )
        found.append(given)
    return found


def _call(call: Mapping[str, Any]) -> str:
    function = call["function"]
    arguments = function.get("arguments", {})
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    text = json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{text}\n</tool_call>"


def _check_written(messages: Messages, template: ChatTemplate, variables: Variables) -> None:
    """Raises Removed if the template leaves out tools, documents, tool calls or reasoning."""
    for name in variables:
        if not template.writes(name, variables):
            raise Removed("not_in_template", f"the chat template does not write `{name}`")
    thoughtful = [number for number, message in enumerate(messages) if any(message.get(key) for key in REASONING_KEYS)]
    if thoughtful and not any(template.writes(key, variables) for key in REASONING_KEYS):
        raise Removed("not_in_template", "the chat template does not write `reasoning_content`")
    without: list[tuple[str, Messages, Variables]] = [
        (name, messages, {key: value for key, value in variables.items() if key != name})
        for name in ("tools", "documents")
        if name in variables
    ]
    parts: list[tuple[int, tuple[str, ...]]] = [
        (number, ("tool_calls",)) for number, message in enumerate(messages) if message.get("tool_calls")
    ]
    parts += [(number, REASONING_KEYS) for number in thoughtful if number == len(messages) - 1]
    for number, keys in parts:
        bare = {key: value for key, value in messages[number].items() if key not in keys}
        without.append((keys[0], [*messages[:number], bare, *messages[number + 1 :]], variables))
    text = template.render(messages, variables) if without else ""
    for name, others, rest in without:
        try:
            same = template.render(others, rest) == text
        except TemplateRefusal:
            continue
        if same:
            raise Removed("not_in_template", f"the chat template leaves out `{name}` of this conversation")


@dataclass(frozen=True)
class Sequences:
    """Concatenated lists of different lengths. List n is `values[starts[n] : starts[n + 1]]`."""

    values: npt.NDArray[Any]
    starts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> npt.NDArray[Any]:
        return self.values[self.starts[number] : self.starts[number + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.starts)

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Sequences:
        """Converts a column of lists. A null becomes an empty list."""
        array = column.combine_chunks()
        lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return cls(array.flatten().to_numpy(zero_copy_only=False), np.concatenate(([0], np.cumsum(lengths))))


def read_split(parts: Sequence[Path], schema: pa.Schema, split: str, columns: Sequence[str]) -> Mapping[str, Any]:
    """The rows of a split, in order, by column: token columns as `Sequences`, other columns as pyarrow arrays."""
    empty = schema.empty_table().select(list(columns))
    tables = [empty]
    for part in parts:
        table = read_parquet(part, [*columns, "split"])
        tables.append(table.filter(pa.array(table["split"].to_numpy() == split)).select(list(columns)))
    table = pa.concat_tables(tables)
    flat = (_IDS, pa.list_(pa.bool_()))
    return {name: Sequences.of(table[name]) if schema.field(name).type in flat else table[name] for name in columns}
