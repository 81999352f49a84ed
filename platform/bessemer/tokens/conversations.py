"""Rows of the common conversation formats, as messages; a row that is none has a rule that says why.

    {"messages": [{"role": "user", "content": "..."}, ...]}                  OpenAI, TRL, Hugging Face
    {"conversations": [{"from": "human", "value": "..."}, ...]}              ShareGPT
    {"instruction": "...", "input": "...", "output": "..."}                  Alpaca; also `system` and `history`
    {"prompt": "...", "completion": "..."}                                   TRL; also `response`, and lists of messages
    {"question": "...", "answer": "..."}                                     GSM8K and other sets of questions

What comes out has the roles `system`, `user`, `assistant` and `tool`, begins with a user (after a system message, if
there is one), lets the assistant speak only after a user or a tool, and ends with the assistant: what stands after its
last answer has nothing to teach and is cut off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

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
"""The role behind each name in use."""

Messages = list[dict[str, str]]

RULES = (
    "not_an_object", "no_conversation", "bad_message", "unknown_role", "empty_message", "wrong_order", "no_answer",
)  # fmt: skip


class Unfit(Exception):
    """A row that is no conversation: the rule that it breaks, and what was found."""

    def __init__(
        self, rule: str, evidence: str = "", *, value: float | None = None, threshold: float | None = None
    ) -> None:
        super().__init__(rule)
        self.rule = rule
        self.evidence = evidence[:200]
        self.value, self.threshold = value, threshold


def messages_of(row: Any, *, answered: bool = True) -> Messages:
    """The messages of a row, up to the last answer; or, if they need not be `answered`, all of them. Raises Unfit."""
    if not isinstance(row, Mapping):
        raise Unfit("not_an_object", type(row).__name__)
    for field, read in _FORMATS.items():
        if row.get(field) is not None:
            return _checked(read(row), answered)
    raise Unfit("no_conversation", ", ".join(map(str, row)))


def chat(messages: Any) -> Messages:
    """A list of messages in any of the spellings. Raises Unfit."""
    if not isinstance(messages, list):
        raise Unfit("bad_message", f"a list of messages is {type(messages).__name__}")
    return [message(given) for given in messages]


def message(given: Any) -> dict[str, str]:
    """One message in any of the spellings. Raises Unfit."""
    if not isinstance(given, Mapping):
        raise Unfit("bad_message", repr(given))
    name = given.get("role", given.get("from"))
    role = ROLES.get(str(name).lower())
    if role is None:
        raise Unfit("unknown_role", str(name))
    content = given.get("content", given.get("value"))
    if calls := given.get("tool_calls"):
        if not isinstance(calls, list):
            raise Unfit("bad_message", f"`tool_calls` is {type(calls).__name__}")
        return {"role": role, "content": "\n".join([*([_text(content)] if content else []), *map(_tool_call, calls)])}
    return {"role": role, "content": _text(content)}


def _tool_call(call: Any) -> str:
    """A call of a function as text, in the way of Hermes and Qwen."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Unfit("bad_message", f"a tool call is {call!r}")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise Unfit("bad_message", f"the arguments of `{function['name']}` are no JSON") from None
    text = json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{text}\n</tool_call>"


def _text(content: Any) -> str:
    """A message's text; of a list of parts, those that are text."""
    if isinstance(content, list):
        parts = [part.get("text", part.get("value")) for part in content if isinstance(part, Mapping)]
        if len(parts) == len(content) and all(isinstance(part, str) for part in parts):
            content = "".join(parts)
    if not isinstance(content, str):
        raise Unfit("bad_message", f"content is {type(content).__name__}")
    return content


def _alpaca(row: Mapping[str, Any]) -> Messages:
    asked = [row["instruction"], row.get("input") or ""]
    if not all(isinstance(text, str) for text in (*asked, row.get("output"))):
        raise Unfit("bad_message", "`instruction`, `input` and `output` should be texts")
    system = (
        [{"role": "system", "content": row["system"]}] if isinstance(row.get("system"), str) and row["system"] else []
    )
    turns = row.get("history") or []
    if not isinstance(turns, list) or not all(isinstance(turn, list) and len(turn) == 2 for turn in turns):
        raise Unfit("bad_message", "`history` should be pairs of a question and its answer")
    history = [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    now = [
        {"role": "user", "content": "\n\n".join(text for text in asked if text.strip())},
        {"role": "assistant", "content": row["output"]},
    ]
    return chat([*system, *history, *now])


def completion(asked: Any, answer: Any) -> Messages:
    """A question with its answer, if there is one; each a text or messages. Raises Unfit."""
    sides = (("user", asked), *((("assistant", answer),) if answer is not None else ()))
    return [
        said
        for role, side in sides
        for said in (chat(side) if isinstance(side, list) else [{"role": role, "content": _text(side)}])
    ]


_FORMATS: dict[str, Callable[[Mapping[str, Any]], Messages]] = {
    "messages": lambda row: chat(row["messages"]),
    "conversations": lambda row: chat(row["conversations"]),
    "instruction": _alpaca,
    "prompt": lambda row: completion(row["prompt"], row.get("completion", row.get("response"))),
    "question": lambda row: completion(row["question"], row.get("answer")),
}


FIELDS = frozenset(
    ("messages", "conversations", "instruction", "input", "output", "system", "history", "prompt", "completion")
) | {"response", "question", "answer"}
"""The fields in which a conversation may stand; a row's others are kept beside it."""


def _checked(messages: Messages, answered: bool) -> Messages:
    last = max((n for n, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    if last < 0 and answered:
        raise Unfit("no_answer", f"{len(messages)} messages")
    if not messages:
        raise Unfit("no_conversation", "no messages")
    kept = messages[: last + 1] if answered else messages
    check_order(kept)
    return kept


def check_order(messages: Messages) -> None:
    """Raises Unfit where a message is empty, no text, or speaks out of turn."""
    before = "start"
    for number, said in enumerate(messages, start=1):
        role = said["role"]
        if not said["content"].strip():
            raise Unfit("empty_message", f"message {number}, of the {role}")
        try:
            said["content"].encode()
        except UnicodeEncodeError as error:  # JSON may hold half of a surrogate pair
            raise Unfit("bad_message", f"message {number}: {error.reason}") from None
        if role not in _AFTER[before]:
            raise Unfit("wrong_order", f"message {number}: {role} after {before}")
        before = role


_AFTER = {
    "start": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
"""The roles that may follow each."""
