"""Reads rows of the common preference formats as a prompt with a chosen and a rejected answer.

    {"prompt": ..., "chosen": ..., "rejected": ...}             TRL; each a text or a list of messages
    {"chosen": [...], "rejected": [...]}                        TRL; the prompt is the common beginning of both
    {"chosen": "\\n\\nHuman: ...\\n\\nAssistant: ...", ...}      HH-RLHF's transcripts
    {"conversations": [...], "chosen": {...}, "rejected": {...}}    ShareGPT
    {"instruction": ..., "output_1": ..., "output_2": ..., "preference": 1 or 2}    AlpacaEval
    {"prompt": ..., "completion": ..., "label": true}           unpaired: liked or disliked; also `kto_tag`

A prompt may also be in the columns of the conversation formats (`instruction` with `input`, `question`, `query`). A row
may also have `system`, `tools` and the other variables of a chat template. An unpaired row has one answer only, which
is `chosen` if it was liked and `rejected` otherwise. A row with `weight: 0` or `train: false` is removed, as in
conversations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bessemer.artifacts.descriptions import Reason
from bessemer.artifacts.ledger import Removed
from bessemer.tokens.conversations import FIELDS as CONVERSATION_FIELDS
from bessemer.tokens.conversations import (
    FORMATS,
    SYSTEM_FIELDS,
    Messages,
    chat,
    check_learned,
    check_order,
    completion,
    dialogue_of,
    message,
    renamed,
    variables_of,
    with_system,
)

RULES: Mapping[str, Reason] = {
    "no_preference": Reason("The row does not say which answer is preferred."),
    "identical_answers": Reason("Both answers are equal, or the chat template writes them equally."),
    "empty_answer": Reason("An answer is empty."),
    "different_prompts": Reason("The two answers belong to different prompts."),
}
"""Rules in addition to those of conversations."""

FIELDS = (
    *("chosen", "rejected", "output_1", "output_2", "preference", "label", "kto_tag"),
    *CONVERSATION_FIELDS,
)
"""All fields that the formats read."""
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]?")


@dataclass(frozen=True)
class Preference:
    """A prompt that ends before the assistant's answer, and one or two answers."""

    prompt: Messages
    chosen: Messages | None
    rejected: Messages | None
    variables: dict[str, Any] = field(default_factory=dict)
    """The row's variables of the chat template, as in `Dialogue`."""


def preference_of(row: Any, *, columns: Mapping[str, str] | None = None) -> Preference:
    """The preference in a row. `columns` maps field names to the row's column names, if they differ. Raises Removed."""
    row = renamed(row, columns or {})
    check_learned(row)
    if row.get("chosen") is not None and row.get("rejected") is not None:
        found = _pair(row)
    elif isinstance(liked := row.get("label", row.get("kto_tag")), bool):
        found = _unpaired(row, liked)
    elif "output_1" in row and "output_2" in row:
        found = _annotated(row)
    else:
        raise Removed("no_preference", f"a row of {', '.join(map(str, row)) or 'no columns'}")
    return _checked(replace(found, prompt=with_system(found.prompt, row), variables=variables_of(row)))


def _pair(row: Mapping[str, Any]) -> Preference:
    chosen, rejected = row["chosen"], row["rejected"]
    if row.get("conversations") is not None:
        return Preference(chat(row["conversations"]), [message(chosen)], [message(rejected)])
    if (prompt := _prompt(row)) is not None:
        sides = [chat(side) if isinstance(side, list) else side for side in (chosen, rejected)]
        systems = [side[0] if isinstance(side, list) and side else None for side in sides]
        if systems[0] == systems[1] and (first := systems[0]) and first["role"] == "system" != prompt[0]["role"]:
            prompt = [first, *prompt]
        return Preference(prompt, _answer(sides[0], prompt), _answer(sides[1], prompt))
    both = [_transcript(side) if isinstance(side, str) else chat(side) for side in (chosen, rejected)]
    common = next((n for n, (a, b) in enumerate(zip(*both, strict=False)) if a != b), min(map(len, both)))
    common = max((n for n in range(common + 1) if n and both[0][n - 1]["role"] != "assistant"), default=0)
    if not common:
        raise Removed("different_prompts", both[0][0]["content"] if both[0] else "no messages")
    return Preference(both[0][:common], both[0][common:], both[1][common:])


def _prompt(row: Mapping[str, Any]) -> Messages | None:
    """The prompt of a pair, if the row has a column for it."""
    fields = {
        name: row[name] for name in ("prompt", "instruction", "input", "context", "question", "query") if name in row
    }
    lead = next((lead for lead in ("prompt", "instruction", "question", "query") if fields.get(lead) is not None), None)
    return FORMATS[lead][1](fields) if lead else None


def _unpaired(row: Mapping[str, Any], liked: bool) -> Preference:
    messages = dialogue_of(
        {name: value for name, value in row.items() if name not in ("label", *SYSTEM_FIELDS)}
    ).messages
    prompt, answer = messages[:-1], messages[-1:]
    return Preference(prompt, answer if liked else None, None if liked else answer)


def _annotated(row: Mapping[str, Any]) -> Preference:
    preferred = row.get("preference")
    if (
        isinstance(preferred, bool)
        or not isinstance(preferred, int | float)
        or not 1 <= preferred <= 2
        or preferred == 1.5
    ):
        raise Removed("no_preference", f"`preference` is {preferred!r}")
    prompt = _prompt(row) or completion(None, None)
    first, second = _answer(row["output_1"], prompt), _answer(row["output_2"], prompt)
    return Preference(prompt, *((first, second) if preferred < 1.5 else (second, first)))


def _answer(side: Any, prompt: Messages) -> Messages:
    """The messages of an answer. If they repeat the prompt at the start, it is cut off."""
    if isinstance(side, str):
        return [{"role": "assistant", "content": side}]
    messages = chat(side if isinstance(side, list) else [side])
    if prompt and prompt[0]["role"] == "system" and messages[: len(prompt) - 1] == prompt[1:]:
        return messages[len(prompt) - 1 :]
    return messages[len(prompt) :] if messages[: len(prompt)] == prompt else messages


def _transcript(text: str) -> Messages:
    roles = {"Human": "user", "Assistant": "assistant"}
    parts = _TURN.split(text)
    return [
        {"role": roles[speaker], "content": said.strip()}
        for speaker, said in zip(parts[1::2], parts[2::2], strict=True)
    ]


def _checked(found: Preference) -> Preference:
    sides = [side for side in (found.chosen, found.rejected) if side is not None]
    for side in sides:
        if not side or not ((side[-1]["content"] or "").strip() or side[-1].get("tool_calls")):
            raise Removed("empty_answer", f"after {found.prompt[-1]['content'] if found.prompt else 'nothing'}")
        if side[-1]["role"] != "assistant":
            raise Removed("wrong_order", f"an answer ends with the {side[-1]['role']}")
        if any("weight" in said for said in side):
            raise Removed("bad_message", "an answer of a preference cannot be kept out of the loss")
        check_order([*found.prompt, *side])
    if found.chosen == found.rejected:
        raise Removed("identical_answers", sides[0][-1]["content"])
    return found
