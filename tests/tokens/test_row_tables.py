"""The columns of conversations and preferences have the template's tokens. Rows that the template cannot render raise
Removed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.tokens.chat_templates import (
    CALLS,
    CHANNELS,
    PREFILLED,
    SYSTEM,
    THINKING,
    TOOLS,
    TRIMMING,
    result,
    said,
    unmarked,
    user,
)
from tests.tokens.chat_templates import tokenizer_with as tokenizer

from bessemer.artifacts.ledger import Removed
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.conversations import dialogue_of
from bessemer.tokens.preferences import preference_of
from bessemer.tokens.row_tables import conversation_columns, preference_columns
from bessemer.tokens.special import CHAT_TEMPLATE

PLAIN = (
    "{% for m in messages %}{{ '<|turn|>' + m.role + ':' + m.content + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant:' }}{% endif %}"
)
CONTENT_ALONE = (
    "{{ '<|turn|>' + m.role + ':' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{{ "
)


def chat_of(template: str) -> ChatTemplate:
    return ChatTemplate.of(tokenizer(template))


def columns(template: str, messages: list[Any], variables: dict[str, Any] | None = None) -> dict[str, Any]:
    return conversation_columns(dialogue_of({"messages": messages}).messages, chat_of(template), variables)


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, unmarked(TRIMMING), THINKING, CHANNELS])
def test_the_prompt_of_the_last_answer_is_what_generation_begins_with(template: str) -> None:
    messages = [SYSTEM, user("Hi?"), said("Hello."), user("And?"), said("Bye.")]
    found = columns(template, messages)
    prompt = chat_of(template).prompt(messages[:-1])
    assert found["ids"][: found["prompt_length"]].tolist() == prompt.tolist()
    assert found["learned"][found["prompt_length"] :].all(), "all ids after the prompt must be learned"
    assert found["ids"][-1] == chat_of(template).stop_ids[0]


@pytest.mark.parametrize(
    ("template", "messages", "variables", "rule", "evidence"),
    [
        (PLAIN, [user("?"), said("!")], {"tools": TOOLS}, "not_in_template", "does not write `tools`"),
        (PLAIN, [user("?"), said("!")], {"style": "terse"}, "not_in_template", "does not write `style`"),
        (PLAIN, [user("?"), said("!", reasoning_content="Hm.")], {}, "not_in_template", "`reasoning_content`"),
        (
            CHANNELS + "{% if messages | length > 5 %}{{ messages[1].tool_calls }}{% endif %}",
            [user("?"), said("Look.", tool_calls=CALLS)],
            {},
            "not_in_template",
            "leaves out `tool_calls` of this conversation",
        ),
        (TRIMMING, [user("?"), said("!", tool_calls=CALLS * 2)], {}, "refused_by_template", "one call at a time"),
        (PREFILLED, [user("?"), said("!")], {}, "prompt_changes", "'<think>"),
        (unmarked(PREFILLED), [user("?"), said("!")], {}, "prompt_changes", "'<think>"),
        (
            THINKING.replace("{%- generation %}\n", "").replace("{{- content }}", "{% generation %}{{- content }}"),
            [user("?"), said("!")],
            {},
            "prompt_changes",
            "does not cover the beginning of the answer",
        ),
        (
            PLAIN.replace("{{ '<|turn|>' + m.role + ':' + m.content + ", CONTENT_ALONE),
            [user("?"), said("!")],
            {},
            "no_end",
            "without a special token that is learned",
        ),
        (CHAT_TEMPLATE, [user("?"), said("\n!")], {}, "prompt_changes", "a token joins"),
        (
            PLAIN.replace("'<|eot|>'", "('<|eot|>' if m.role == 'user' or m.content != 'Yes' else '')"),
            [user("?"), said("Yes")],
            {},
            "no_end",
            "without a special token",
        ),
    ],
)
def test_a_conversation_that_the_template_cannot_write_says_why(
    template: str, messages: list[Any], variables: dict[str, Any], rule: str, evidence: str
) -> None:
    with pytest.raises(Removed) as caught:
        columns(template, messages, variables)
    assert caught.value.rule == rule
    assert evidence in caught.value.evidence


def test_calls_are_text_if_the_template_does_not_know_them() -> None:
    calls = [{"function": {"name": "weather", "arguments": '{"city": "Köln"}'}}]
    found = columns(PLAIN, [user("?"), said("Look.", tool_calls=calls), result("20"), said("20.")])
    written = 'Look.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>'
    assert [message["content"] for message in found["messages"]] == ["?", written, "20", "20."]
    text = chat_of(PLAIN).tokenizer.decode(found["ids"][found["learned"]].tolist())
    assert text == f"{written}<|eot|>20.<|eot|>"


def test_keys_of_messages_and_variables_are_kept() -> None:
    messages = [user("?"), said("", tool_calls=CALLS), result("20"), said("20.", reasoning_content="Easy.")]
    found = columns(CHAT_TEMPLATE, messages, {"tools": TOOLS})
    assert json.loads(found["variables"]) == {"tools": TOOLS}
    assert [json.loads(message["fields"] or "{}") for message in found["messages"]] == [
        {}, {"tool_calls": CALLS}, {"tool_call_id": "1"}, {"reasoning_content": "Easy."},
    ]  # fmt: skip


def test_a_last_answer_of_weight_zero_is_there_and_not_learned() -> None:
    found = columns(CHAT_TEMPLATE, [user("A?"), said("Good."), user("B?"), said("Bad.", weight=0)])
    chat = chat_of(CHAT_TEMPLATE)
    assert chat.tokenizer.decode(found["ids"][found["prompt_length"] :].tolist()) == "Bad.<|im_end|>"
    assert chat.tokenizer.decode(found["ids"][found["learned"]].tolist()) == "Good.<|im_end|>"


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, unmarked(THINKING), CHANNELS])
def test_a_preference_has_one_prompt_and_two_answers_with_their_ends(template: str) -> None:
    row = {"system": "Be kind.", "prompt": "Hi?", "chosen": "Hello.", "rejected": "Go."}
    chat = chat_of(template)
    found = preference_columns(preference_of(row), chat)
    asked = [{"role": "system", "content": "Be kind."}, user("Hi?")]
    assert found["prompt_ids"].tolist() == chat.prompt(asked).tolist()
    for side in ("chosen", "rejected"):
        ids = np.concatenate([found["prompt_ids"], found[f"{side}_ids"]])
        assert ids.tolist() == chat.encode([*asked, said(row[side])]).ids[: len(ids)].tolist()
        assert ids[-1] == chat.stop_ids[0]


def test_tools_of_a_preference_are_in_its_prompt() -> None:
    row = {"prompt": "Hi?", "chosen": "Hello.", "rejected": "Go.", "tools": json.dumps(TOOLS)}
    chat = chat_of(CHAT_TEMPLATE)
    found = preference_columns(preference_of(row), chat)
    assert found["prompt_ids"].tolist() == chat.prompt([user("Hi?")], {"tools": TOOLS}).tolist()
    with pytest.raises(Removed, match="not_in_template"):
        preference_columns(preference_of(row), chat_of(PLAIN))


def test_answers_that_the_template_makes_equal_are_no_preference() -> None:
    row = {"prompt": "Hi?", "chosen": "Hello. ", "rejected": "Hello."}
    assert preference_columns(preference_of(row), chat_of(CHAT_TEMPLATE))["chosen"]
    with pytest.raises(Removed, match="identical_answers"):
        preference_columns(preference_of(row), chat_of(unmarked(TRIMMING)))
