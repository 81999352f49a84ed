"""Conversations and preferences as tables: what stands in the artifacts of those kinds, and how it is read again.

Both have `id`, `url`, `source`, `split` (`tune`, `validation`, `test`), the messages, and their tokens as the chat
template of the tokenizer gives them, so that training renders nothing.

    conversations   messages, fields (the row's other columns, as JSON), ids, learned (whether a token is in the loss)
    preferences     prompt, chosen, rejected (messages; a single thumb has one side), and the ids of each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bessemer.artifacts.documents import read_parquet
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.conversations import Messages, Unfit
from bessemer.tokens.preferences import Preference

_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_IDS = pa.list_(pa.int32())
_NAMES = [pa.field(name, pa.string(), nullable=False) for name in ("id", "url", "source", "split")]

CONVERSATIONS = pa.schema(
    [
        *_NAMES,
        pa.field("messages", _MESSAGES, nullable=False),
        pa.field("fields", pa.string(), nullable=False),
        pa.field("ids", _IDS, nullable=False),
        pa.field("learned", pa.list_(pa.bool_()), nullable=False),
    ]
)
PREFERENCES = pa.schema(
    [
        *_NAMES,
        pa.field("prompt", _MESSAGES, nullable=False),
        pa.field("chosen", _MESSAGES),
        pa.field("rejected", _MESSAGES),
        pa.field("prompt_ids", _IDS, nullable=False),
        pa.field("chosen_ids", _IDS),
        pa.field("rejected_ids", _IDS),
    ]
)


def conversation_columns(messages: Messages, template: ChatTemplate) -> dict[str, Any]:
    """The columns of a conversation; one that waits for an answer has its prompt's tokens, and learns nothing."""
    if messages[-1]["role"] != "assistant":
        ids = template.prompt(messages)
        return {"messages": messages, "ids": ids, "learned": np.zeros(len(ids), np.bool_)}
    encoded = template.encode(messages)
    end = int(np.flatnonzero(encoded.learned)[-1]) + 1  # what a template writes after the last answer teaches nothing
    return {"messages": messages, "ids": encoded.ids[:end], "learned": encoded.learned[:end]}


def preference_columns(preference: Preference, template: ChatTemplate) -> dict[str, Any]:
    """The columns of a preference. Raises Unfit where the template writes the prompt otherwise before an answer."""
    prompt = template.prompt(preference.prompt)
    return {
        "prompt": preference.prompt,
        "chosen": preference.chosen,
        "rejected": preference.rejected,
        "prompt_ids": prompt,
        "chosen_ids": _answer_ids(prompt, preference.prompt, preference.chosen, template),
        "rejected_ids": _answer_ids(prompt, preference.prompt, preference.rejected, template),
    }


def _answer_ids(
    prompt: npt.NDArray[np.int64], before: Messages, answer: Messages | None, template: ChatTemplate
) -> npt.NDArray[np.int64] | None:
    if answer is None:
        return None
    ids = conversation_columns([*before, *answer], template)["ids"]
    if not np.array_equal(ids[: len(prompt)], prompt):
        raise Unfit("prompt_changes", "the chat template writes the prompt otherwise once it is answered")
    found: npt.NDArray[np.int64] = ids[len(prompt) :]
    return found


@dataclass(frozen=True)
class Sequences:
    """Lists of unequal length, one after the other: list n is `values[starts[n] : starts[n + 1]]`."""

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
        """A column of lists; a null is an empty one."""
        array = column.combine_chunks()
        lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return cls(array.flatten().to_numpy(zero_copy_only=False), np.concatenate(([0], np.cumsum(lengths))))


def read_split(parts: Sequence[Path], schema: pa.Schema, split: str, columns: Sequence[str]) -> Mapping[str, Any]:
    """The rows of a split, in order: `Sequences` of tokens, and plain columns as pyarrow has them."""
    empty = schema.empty_table().select(list(columns))
    tables = [empty]
    for part in parts:
        table = read_parquet(part, [*columns, "split"])
        tables.append(table.filter(pa.array(table["split"].to_numpy() == split)).select(list(columns)))
    table = pa.concat_tables(tables)
    flat = (_IDS, pa.list_(pa.bool_()))
    return {name: Sequences.of(table[name]) if schema.field(name).type in flat else table[name] for name in columns}
