"""Checks on sample conversations that a chat template has the properties on which training and serving rely.

for claim in prove(template, ends): claim.what, claim.holds, claim.found, claim.needed
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from bessemer.errors import InputError
from bessemer.tokens.chat import ASSISTANT, ChatTemplate, Conversation
from bessemer.tokens.conversations import Messages

_ASKED, _ANSWERED = "Prices rose 12,345.67 % in São Paulo; why?", "日本語 🙂 don't\n\n\tif (x != y) { return; }"
CONVERSATIONS: tuple[Messages, ...] = (
    [{"role": "user", "content": _ASKED}, {"role": ASSISTANT, "content": _ANSWERED}],
    [
        {"role": "user", "content": _ASKED},
        {"role": ASSISTANT, "content": _ANSWERED},
        {"role": "user", "content": "And then?"},
        {"role": ASSISTANT, "content": "Nothing."},
    ],
)
"""The sample conversations. If the template supports system messages, one with a system message is added."""
SYSTEM = {"role": "system", "content": "Be brief."}


@dataclass(frozen=True)
class Claim:
    """A property of a template and whether the template has it."""

    what: str
    """The name of the property."""
    holds: bool
    found: str
    """The explanation of the property, or the problem found."""
    needed: bool = True
    """Whether training fails without the property."""


def prove(template: ChatTemplate, ends: Collection[int]) -> list[Claim]:
    """Checks all properties of a template. `ends` are the tokens at which the exported model stops."""
    tried = [*CONVERSATIONS, *([[SYSTEM, *CONVERSATIONS[1]]] if _takes_system(template) else [])]
    return [
        _all("bytes", tried, lambda messages: _equal_bytes(template, messages)),
        _all("prompt", tried, lambda messages: _prompt_kept(template, messages)),
        _all("history", tried, lambda messages: _history_kept(template, messages), needed=False),
        _all("stop token", tried, lambda messages: _end_learned(template.encode(messages), template, ends)),
    ]


def _all(what: str, tried: list[Messages], problem: Callable[[Messages], str | None], *, needed: bool = True) -> Claim:
    problems = [found for messages in tried if (found := problem(messages))]
    good = {
        "bytes": "the tokens decode to exactly the template's text",
        "prompt": "training and generation put the same tokens before an answer",
        "history": "the template renders a turn the same way once the conversation continues",
        "stop token": "the end of every answer is learned, and generation stops at it",
    }
    return Claim(what, not problems, problems[0] if problems else good[what], needed)


def _equal_bytes(template: ChatTemplate, messages: Messages) -> str | None:
    """Compares the training tokens with the template's text, and with its tokens in other tools."""
    text, ids = template.render(messages), template.encode(messages).ids.tolist()
    tokenizer = template.tokenizer
    if (spelled := tokenizer.decode(ids)) != text:
        return f"the tokens decode to {spelled!r}, but the template's text is {text!r}"
    if tokenizer.encode(text, recognise_special=True) != ids:
        return "other tools encode the template's text to other tokens than training does"
    return None


def _answered(messages: Messages) -> list[Messages]:
    """The conversation up to and including each answer."""
    return [messages[: number + 1] for number, message in enumerate(messages) if message["role"] == ASSISTANT]


def _prompt_kept(template: ChatTemplate, messages: Messages) -> str | None:
    for answered in _answered(messages):
        encoded, prompt = template.encode(answered), template.prompt(answered[:-1])
        if encoded.start is None:
            return f"message {len(answered)}: {encoded.problem}"
        if not np.array_equal(encoded.ids[: encoded.start], prompt):
            return f"the template renders the prompt before message {len(answered)} differently once it is answered"
    return None


def _history_kept(template: ChatTemplate, messages: Messages) -> str | None:
    whole = template.encode(messages).ids
    for answered in _answered(messages):
        ids = template.encode(answered).ids
        if not np.array_equal(whole[: len(ids)], ids):
            return f"the template renders message {len(answered)} differently once the conversation continues"
    return None


def _end_learned(conversation: Conversation, template: ChatTemplate, ends: Collection[int]) -> str | None:
    special = np.isin(conversation.ids, [*template.special_ids.values()])
    runs = np.flatnonzero(conversation.learned & ~np.append(conversation.learned[1:], False))
    found = {int(conversation.ids[: run + 1][special[: run + 1]][-1]) for run in runs}
    if not found:
        return "no answer is learned"
    if template.stop_ids[0] not in found or not found <= set(template.stop_ids):
        return f"answers end in {[template.tokenizer.decode([token]) for token in sorted(found)]}"
    if template.stop_ids[0] not in ends:
        name = template.tokenizer.decode([template.stop_ids[0]])
        return f"the model's `generation_config.json` does not stop at {name}"
    return None


def _takes_system(template: ChatTemplate) -> bool:
    try:
        template.render([SYSTEM, *CONVERSATIONS[0]])
    except InputError:
        return False
    return True
