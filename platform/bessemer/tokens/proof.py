"""Does a chat template do what training, serving and every other tool rely on? Proved on conversations, not believed.

for claim in prove(template, ends): claim.what, claim.holds, claim.found
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
"""What a template is tried on; one with a system message is tried too, where the template takes it."""
SYSTEM = {"role": "system", "content": "Be brief."}


@dataclass(frozen=True)
class Claim:
    """Something that must hold, whether it does, and what was found."""

    what: str
    holds: bool
    found: str


def prove(template: ChatTemplate, ends: Collection[int]) -> list[Claim]:
    """The claims about a template; `ends` are the tokens at which the exported model's texts end."""
    tried = [*CONVERSATIONS, *([[SYSTEM, *CONVERSATIONS[1]]] if _takes_system(template) else [])]
    return [
        _all("bytes", tried, lambda messages: _equal_bytes(template, messages)),
        _all("prefix", tried, lambda messages: _prefix_kept(template, messages)),
        _all("stop token", tried, lambda messages: _end_learned(template.encode(messages), template, ends)),
    ]


def _all(what: str, tried: list[Messages], problem: Callable[[Messages], str | None]) -> Claim:
    problems = [found for messages in tried if (found := problem(messages))]
    good = {
        "bytes": "tokens spell what the template writes, and nothing else",
        "prefix": "what was said is a prefix of what is said next",
        "stop token": "the end of every answer is learned, and generation stops at it",
    }
    return Claim(what, not problems, problems[0] if problems else good[what])


def _equal_bytes(template: ChatTemplate, messages: Messages) -> str | None:
    """Training's tokens against the template's text, read as every other tool reads it."""
    text, ids = template.render(messages), template.encode(messages).ids.tolist()
    tokenizer = template.tokenizer
    if (spelled := tokenizer.decode(ids)) != text:
        return f"tokens spell {spelled!r}, the template writes {text!r}"
    if tokenizer.encode(text, recognise_special=True) != ids:
        return "other tools cut the template's text into other tokens than training does"
    return None


def _prefix_kept(template: ChatTemplate, messages: Messages) -> str | None:
    whole = template.encode(messages).ids
    for number, message in enumerate(messages):
        if message["role"] == ASSISTANT:
            prompt, answered = template.prompt(messages[:number]), template.encode(messages[: number + 1]).ids
            if not np.array_equal(whole[: len(prompt)], prompt):
                return f"the prompt before message {number + 1} is written otherwise once it is answered"
            if not np.array_equal(whole[: len(answered)], answered):
                return f"message {number + 1} is written otherwise once the conversation goes on"
    return None


def _end_learned(conversation: Conversation, template: ChatTemplate, ends: Collection[int]) -> str | None:
    last = np.flatnonzero(conversation.learned & ~np.append(conversation.learned[1:], False))
    found = set(conversation.ids[last].tolist())
    if found != {template.stop_ids[0]}:
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
