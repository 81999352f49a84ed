"""Rows of the common conversation formats, as messages; a row that is none has a rule that says why.

    {"messages": [{"role": "user", "content": "..."}, ...]}                  OpenAI, TRL, Hugging Face
    {"conversations": [{"from": "human", "value": "..."}, ...]}              ShareGPT
    {"instruction": "...", "input": "...", "output": "..."}                  Alpaca; also `system` and `history`
    {"prompt": "...", "completion": "..."}                                   TRL; also `response`, and lists of messages

What comes out has the roles `system`, `user`, `assistant` and `tool`, begins with a user (after a system message, if
there is one), lets the assistant speak only after a user or a tool, and ends with the assistant: what stands after its
last answer has nothing to teach and is cut off.
"""

from __future__ import annotations

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

RULES = ("not_an_object", "no_conversation", "bad_message", "unknown_role", "empty_message", "wrong_order", "no_answer")


class Unfit(Exception):
    """A row that is no conversation: the rule that it breaks, and what was found."""

    def __init__(self, rule: str, evidence: str = "") -> None:
        super().__init__(rule)
        self.rule = rule
        self.evidence = evidence[:200]


def messages_of(row: Any) -> Messages:
    """The messages of a row. Raises Unfit."""
    if not isinstance(row, Mapping):
        raise Unfit("not_an_object", type(row).__name__)
    for field, read in _FORMATS.items():
        if row.get(field) is not None:
            return _checked(read(row))
    raise Unfit("no_conversation", ", ".join(map(str, row)))


def _chat(messages: Any) -> Messages:
    if not isinstance(messages, list):
        raise Unfit("bad_message", f"a list of messages is {type(messages).__name__}")
    return [_message(message) for message in messages]


def _message(message: Any) -> dict[str, str]:
    if not isinstance(message, Mapping):
        raise Unfit("bad_message", repr(message))
    name = message.get("role", message.get("from"))
    role = ROLES.get(str(name).lower())
    if role is None:
        raise Unfit("unknown_role", str(name))
    return {"role": role, "content": _text(message.get("content", message.get("value")))}


def _text(content: Any) -> str:
    """A message's text; of a list of parts, those that are text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text", part.get("value")) for part in content if isinstance(part, Mapping)]
        if len(parts) == len(content) and all(isinstance(part, str) for part in parts):
            return "".join(parts)
    raise Unfit("bad_message", f"content is {type(content).__name__}")


def _alpaca(row: Mapping[str, Any]) -> Messages:
    asked = [row["instruction"], row.get("input") or ""]
    if not all(isinstance(text, str) for text in (*asked, row.get("output"))):
        raise Unfit("bad_message", "`instruction`, `input` and `output` should be texts")
    system = (
        [{"role": "system", "content": row["system"]}] if isinstance(row.get("system"), str) and row["system"] else []
    )
    history = [
        {"role": role, "content": text}
        for turn in row.get("history") or []
        for role, text in zip(("user", "assistant"), turn, strict=False)
    ]
    now = [
        {"role": "user", "content": "\n\n".join(text for text in asked if text.strip())},
        {"role": "assistant", "content": row["output"]},
    ]
    return _chat([*system, *history, *now])


def _completion(row: Mapping[str, Any]) -> Messages:
    answer = row.get("completion", row.get("response"))
    sides = (("user", row["prompt"]), ("assistant", answer))
    return [
        message
        for role, side in sides
        for message in (_chat(side) if isinstance(side, list) else [{"role": role, "content": _text(side)}])
    ]


_FORMATS: dict[str, Callable[[Mapping[str, Any]], Messages]] = {
    "messages": lambda row: _chat(row["messages"]),
    "conversations": lambda row: _chat(row["conversations"]),
    "instruction": _alpaca,
    "prompt": _completion,
}


def _checked(messages: Messages) -> Messages:
    last = max((n for n, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    if last < 0:
        raise Unfit("no_answer", f"{len(messages)} messages")
    kept = messages[: last + 1]
    before = "start"
    for number, message in enumerate(kept):
        role = message["role"]
        if not message["content"].strip():
            raise Unfit("empty_message", f"message {number + 1}, of the {role}")
        if role not in _AFTER[before]:
            raise Unfit("wrong_order", f"message {number + 1}: {role} after {before}")
        before = role
    return kept


_AFTER = {
    "start": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
"""The roles that may follow each."""
