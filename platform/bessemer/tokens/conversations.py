"""Reads rows of the common conversation formats as messages. A row that is not a conversation raises Removed.

    {"messages": [{"role": "user", "content": "..."}, ...]}                  OpenAI, TRL, Hugging Face
    {"conversations": [{"from": "human", "value": "..."}, ...]}              ShareGPT
    {"instruction": "...", "input": "...", "output": "..."}                  Alpaca, with `history`; Dolly's names too
    {"prompt": "...", "completion": "..."}                                   TRL; also `response`, and lists of messages
    {"question": "...", "answer": "..."}                                     GSM8K, OpenOrca (`response`)
    {"query": "...", "response": "..."}

Next to each of them a row may have `system` (or `system_prompt`), and the other variables of a chat template:
`tools` (or `functions`), `documents` and `chat_template_kwargs`, each as JSON or as a text of JSON. The other columns
are kept in `fields`, for rewards.

The messages have the roles `system`, `user`, `assistant` and `tool`. They start with an optional system message and
then a user message. The assistant answers a user or a tool, and the last message is an answer: messages after it teach
nothing and are cut off. A message keeps its other keys (`tool_calls`, `reasoning_content`, ...) for the chat template.
`weight: 0`, `train: false`, `training: false` or `loss: false` keep an answer out of the loss. The same keys next to
the conversation remove the row (`not_learned`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bessemer.artifacts.descriptions import Reason
from bessemer.artifacts.ledger import Removed

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
"""The role for each name that data sets use."""

Messages = list[dict[str, Any]]

RULES: Mapping[str, Reason] = {
    "not_an_object": Reason("The row is not a JSON object."),
    "no_conversation": Reason("The row has none of the known formats, or no messages."),
    "bad_message": Reason("A message has a field of the wrong type, or asks for unsupported learning."),
    "bad_variables": Reason("`tools`, `documents` or `chat_template_kwargs` cannot be used by a chat template."),
    "unknown_role": Reason("A role is not known."),
    "empty_message": Reason("A message has no content."),
    "wrong_order": Reason("The roles are in an impossible order."),
    "no_answer": Reason("The assistant never answers."),
    "two_systems": Reason("The row has two different system messages."),
    "not_learned": Reason("The row says that it is not to learn (`weight: 0`, `train: false`)."),
}
"""The rules that remove a row, by their name in the ledger."""

SYSTEM_FIELDS = ("system", "system_prompt")
WEIGHT_KEYS = ("weight", "train", "training", "loss", "loss_weight")
"""Keys that set whether a message or row is learned: 0 or false, 1 or true."""
_TRUTH_TEXTS = {"0": 0, "0.0": 0, "false": 0, "no": 0, "1": 1, "1.0": 1, "true": 1, "yes": 1}
"""Values of a weight as CSV and TSV write them."""
_PARTLY = ("train_detail", "training_detail", "loss_scale")
"""Keys that ask for parts of a message to be learned."""
_OWN_KEYS = frozenset(("role", "from", "content", "value", "function_call", "tool_calls", *WEIGHT_KEYS))


@dataclass(frozen=True)
class Dialogue:
    """The conversation in a row, with its other columns."""

    messages: Messages
    variables: dict[str, Any]
    """Variables of a chat template: `tools`, `documents` and the row's `chat_template_kwargs`."""
    fields: dict[str, Any]
    """The row's other columns."""


def dialogue_of(row: Any, *, answered: bool = True, columns: Mapping[str, str] | None = None) -> Dialogue:
    """The conversation of a row, up to the last answer. If `answered` is false, all messages are kept.

    `columns` maps field names to the row's column names, if they differ. Raises Removed.
    """
    row = renamed(row, columns or {})
    check_learned(row)
    for lead in sorted(FORMATS, key=lambda lead: lead not in (columns or {})):
        fields, read = FORMATS[lead]
        if row.get(lead) is not None:
            messages = _checked(with_system(read(row), row), answered)
            used = {_first(row, *names)[0] for names in fields} | {*SYSTEM_FIELDS, *VARIABLES}
            return Dialogue(messages, variables_of(row), {key: row[key] for key in row if key not in used})
    raise Removed("no_conversation", f"a row of {', '.join(map(str, row)) or 'no columns'}")


def renamed(row: Any, columns: Mapping[str, str]) -> Mapping[str, Any]:
    """The row with columns renamed to the field names in `columns`. Raises Removed if the row is not an object."""
    if not isinstance(row, Mapping):
        raise Removed("not_an_object", type(row).__name__)
    taken = {field: row[column] for field, column in columns.items() if column in row}
    return {key: value for key, value in row.items() if key not in columns.values()} | taken


def check_learned(row: Mapping[str, Any]) -> None:
    """Raises Removed if a column says that the row is not learned, or learned in part.

    A number in the column `loss` is a measured loss, not an instruction.
    """
    weights: dict[str, Any] = {}
    for key in (*WEIGHT_KEYS, *_PARTLY):
        value = row.get(key)
        if isinstance(value, str):
            value = _TRUTH_TEXTS.get(value.strip().lower(), value) if value.strip() else None
            value = bool(value) if key == "loss" and row[key].strip().lower() in ("true", "false") else value
        if value is not None and (key != "loss" or isinstance(value, bool)):
            weights[key] = value
    if not _is_learned(weights, "a row"):
        raise Removed(
            "not_learned", ", ".join(f"`{key}` is {row[key]!r}" for key, value in weights.items() if not value)
        )


def chat(messages: Any) -> Messages:
    """Reads a list of messages in any supported format. Raises Removed."""
    if not isinstance(messages, list):
        raise Removed("bad_message", f"a list of messages is {type(messages).__name__}")
    return [message(given) for given in messages]


def message(given: Any) -> dict[str, Any]:
    """Reads one message in any supported format. Raises Removed."""
    if not isinstance(given, Mapping):
        raise Removed("bad_message", repr(given))
    name = str(given.get("role", given.get("from")))
    role = ROLES.get(name.lower())
    if role is None:
        raise Removed("unknown_role", name)
    content = given.get("content", given.get("value"))
    calls = given.get("tool_calls")
    if not calls and given.get("function_call"):
        calls = [given["function_call"]]
    elif not calls and name.lower() == "function_call" and (written := _written_calls(content)):
        calls, content = written, ""
    if calls:
        if not isinstance(calls, list):
            raise Removed("bad_message", f"`tool_calls` is {type(calls).__name__}")
        calls = [_tool_call(call) for call in calls]
    found = {"role": role, "content": _text(content) if content is not None or not calls else None}
    others = {str(key): value for key, value in given.items() if key not in _OWN_KEYS and value is not None}
    return found | others | ({"tool_calls": calls} if calls else {}) | _weight(given, role)


def with_system(messages: Messages, row: Mapping[str, Any]) -> Messages:
    """Puts the system message from the row's columns, if any, before the messages. Raises Removed if there are two."""
    said = {row[name] for name in SYSTEM_FIELDS if isinstance(row.get(name), str) and row[name].strip()}
    if odd := [row[name] for name in SYSTEM_FIELDS if not isinstance(row.get(name), str | None)]:
        raise Removed("bad_message", f"a system message is {type(odd[0]).__name__}")
    if messages and messages[0]["role"] == "system":
        said.discard(messages[0]["content"])
        if said:
            raise Removed("two_systems", " / ".join(sorted((*said, messages[0]["content"]))))
    if len(said) > 1:
        raise Removed("two_systems", " / ".join(sorted(said)))
    return [*({"role": "system", "content": text} for text in said), *messages]


def variables_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of the chat template in a row. Raises Removed."""
    tools = _json(row, "tools", list)
    functions = _json(row, "functions", list)
    if not tools and functions:
        tools = [{"type": "function", "function": function} for function in functions]
    documents = _json(row, "documents", list)
    for name, values in (("tools", tools), ("documents", documents)):
        if not all(isinstance(value, Mapping) for value in values or ()):
            raise Removed("bad_variables", f"`{name}` are not all objects")
    others = _json(row, "chat_template_kwargs", Mapping) or {}
    if taken := {"messages", "add_generation_prompt", "tools", "documents"} & others.keys():
        raise Removed("bad_variables", f"`chat_template_kwargs` sets `{min(taken)}`")
    given = {"tools": tools, "documents": documents, **others}
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Removed("bad_variables", error.reason) from None
    return {str(name): value for name, value in given.items() if value or name in others}


def completion(asked: Any, answer: Any) -> Messages:
    """The messages of a question and its answer; each is a text or a list of messages. Raises Removed.

    Without an answer, returns the question only.
    """
    sides = (("user", asked), *((("assistant", answer),) if answer is not None else ()))
    return [
        said
        for role, side in sides
        for said in (chat(side) if isinstance(side, list) else [{"role": role, "content": _text(side)}])
    ]


def check_order(messages: Messages) -> None:
    """Raises Removed if a message is empty, not text, or out of turn."""
    before = "start"
    for number, said in enumerate(messages, start=1):
        role = said["role"]
        if not (said["content"] or "").strip() and not said.get("tool_calls") and role != "tool":
            raise Removed("empty_message", f"message {number}, of the {role}")
        try:
            json.dumps(said, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:  # JSON may contain half of a surrogate pair
            raise Removed("bad_message", f"message {number}: {error.reason}") from None
        if role not in _AFTER[before]:
            raise Removed("wrong_order", f"message {number}: {role} after {before}")
        before = role


_AFTER = {
    "start": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
"""The roles that may follow each role."""


def _checked(messages: Messages, answered: bool) -> Messages:
    last = max((n for n, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    if last < 0 and answered:
        raise Removed("no_answer", f"{len(messages)} messages")
    if not messages:
        raise Removed("no_conversation", "no messages")
    kept = messages[: last + 1] if answered else messages
    check_order(kept)
    return kept


def _alpaca(row: Mapping[str, Any]) -> Messages:
    asked = [row["instruction"], _first(row, "input", "context")[1] or ""]
    answer = _first(row, "output", "response")[1]
    if not all(isinstance(text, str) for text in asked) or not isinstance(answer, str | None):
        raise Removed("bad_message", "`instruction`, `input` and `output` should be texts")
    turns = row.get("history") or []
    if not isinstance(turns, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in turns):
        raise Removed("bad_message", "`history` should be pairs of a question and its answer")
    history = [said for question, reply in turns for said in completion(question, reply)]
    return [*history, *completion("\n\n".join(text for text in asked if text.strip()), answer)]


def _first(row: Mapping[str, Any], *names: str) -> tuple[str, Any]:
    """The first of the fields that has a value in the row, and its value."""
    name = next((name for name in names if row.get(name) is not None), names[0])
    return name, row.get(name)


Read = Callable[[Mapping[str, Any]], Messages]
FORMATS: dict[str, tuple[tuple[tuple[str, ...], ...], Read]] = {
    "messages": ((("messages",),), lambda row: chat(row["messages"])),
    "conversations": ((("conversations",),), lambda row: chat(row["conversations"])),
    "instruction": ((("instruction",), ("input", "context"), ("output", "response"), ("history",)), _alpaca),
    "prompt": (
        (("prompt",), ("completion", "response")),
        lambda row: completion(row["prompt"], _first(row, "completion", "response")[1]),
    ),
    "question": (
        (("question",), ("answer", "response")),
        lambda row: completion(row["question"], _first(row, "answer", "response")[1]),
    ),
    "query": ((("query",), ("response",)), lambda row: completion(row["query"], row.get("response"))),
}
"""The formats by their identifying field: their fields, with alternative names grouped, and the reading function."""

VARIABLES = ("tools", "functions", "documents", "chat_template_kwargs")
FIELDS = (
    *dict.fromkeys(field for fields, _ in FORMATS.values() for names in fields for field in names),
    *SYSTEM_FIELDS,
    *VARIABLES,
    *WEIGHT_KEYS,
)
"""All fields that the formats read."""


def _tool_call(call: Any) -> dict[str, Any]:
    """A function call in OpenAI's format; adds the envelope if it is missing."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Removed("bad_message", f"a tool call is {call!r}")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str) and _parsed(arguments) is None:
        raise Removed("bad_message", f"the arguments of `{function['name']}` are not JSON")
    return dict(call) if "function" in call else {"type": "function", "function": dict(function)}


def _written_calls(content: Any) -> list[Any] | None:
    """The calls in ShareGPT's `function_call`, which is JSON of one call or a list; None for other content."""
    found = _parsed(content) if isinstance(content, str) else content
    calls = found if isinstance(found, list) else [found]
    return calls if all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls) else None


def _weight(given: Mapping[str, Any], role: str) -> dict[str, int]:
    """`{"weight": 0}` for an answer that must not be learned; otherwise empty."""
    learned = _is_learned(given, "an answer")
    asked = next((key for key in WEIGHT_KEYS if given.get(key)), None)
    if asked and role != "assistant":
        raise Removed("bad_message", f"`{asked}` asks to learn a message of the {role}; only answers are learned")
    return {"weight": 0} if role == "assistant" and not learned else {}


def _is_learned(given: Mapping[str, Any], what: str) -> bool:
    """Whether no weight in `given` is 0 or false. Raises Removed for a weight other than 0 and 1."""
    if partly := next((key for key in _PARTLY if given.get(key) is not None), None):
        raise Removed("bad_message", f"`{partly}` is not supported: {what} is learned whole or not at all")
    weights = {key: given[key] for key in WEIGHT_KEYS if given.get(key) is not None}
    for key, value in weights.items():
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise Removed("bad_message", f"`{key}` is {value!r}; {what} is learned (1) or not (0)")
    return all(weights.values())


def _text(content: Any) -> str:
    """The text of a message. If it is a list of parts, joins their texts."""
    if isinstance(content, list):
        parts = [part.get("text", part.get("value")) for part in content if isinstance(part, Mapping)]
        if len(parts) == len(content) and all(isinstance(part, str) for part in parts):
            content = "".join(parts)
    if not isinstance(content, str):
        raise Removed("bad_message", f"content is {type(content).__name__}")
    return content


def _json(row: Mapping[str, Any], name: str, kind: type | Any) -> Any:
    """The value of a column, which may also be JSON as text. Raises Removed if the value is not of type `kind`."""
    value = row.get(name)
    if isinstance(value, str):
        value = _parsed(value) if value.strip() else None
        if value is None and row[name].strip() not in ("", "null"):
            raise Removed("bad_variables", f"`{name}` is a text that is not JSON")
    if value is not None and not isinstance(value, kind):
        raise Removed("bad_variables", f"`{name}` is {type(value).__name__}")
    return value


def _parsed(text: str) -> Any:
    """The value of a JSON text; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
