"""Rows of every common format become the same messages; a row that is none says which rule it breaks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.tokens.conversations import FIELDS, ROLES, RULES, Unfit, messages_of
from bessemer.tokens.preferences import preference_of

ASKED, ANSWERED = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}
KIND = {"role": "system", "content": "Be kind."}


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"messages": [ASKED, ANSWERED]}, [ASKED, ANSWERED]),
        ({"messages": [KIND, ASKED, ANSWERED, ASKED]}, [KIND, ASKED, ANSWERED]),
        ({"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]}, [ASKED, ANSWERED]),
        ({"instruction": "Hi?", "input": "", "output": "Hello."}, [ASKED, ANSWERED]),
        (
            {
                "instruction": "Add.",
                "input": "1 2",
                "output": "3",
                "system": "Be kind.",
                "history": [["Hi?", "Hello."]],
            },
            [KIND, ASKED, ANSWERED, {"role": "user", "content": "Add.\n\n1 2"}, {"role": "assistant", "content": "3"}],
        ),
        ({"prompt": "Hi?", "completion": "Hello."}, [ASKED, ANSWERED]),
        ({"prompt": [KIND, ASKED], "completion": [ANSWERED]}, [KIND, ASKED, ANSWERED]),
        ({"messages": [ASKED | {"content": [{"type": "text", "text": "Hi?"}]}, ANSWERED]}, [ASKED, ANSWERED]),
    ],
)
def test_formats(row: dict[str, Any], messages: list[dict[str, str]]) -> None:
    assert messages_of(row) == messages


@pytest.mark.parametrize(
    ("row", "rule", "evidence"),
    [
        ([1], "not_an_object", "list"),
        ({"text": "a web page"}, "no_conversation", "text"),
        ({"messages": "Hi?"}, "bad_message", "str"),
        ({"messages": ["Hi?"]}, "bad_message", "Hi?"),
        ({"messages": [ASKED | {"content": None}, ANSWERED]}, "bad_message", "NoneType"),
        ({"messages": [{"role": "king", "content": "Hi?"}, ANSWERED]}, "unknown_role", "king"),
        ({"messages": [ASKED, ANSWERED | {"content": " \n"}]}, "empty_message", "message 2"),
        ({"messages": [ANSWERED, ASKED, ANSWERED]}, "wrong_order", "assistant after start"),
        ({"messages": [ASKED, ASKED, ANSWERED]}, "wrong_order", "user after user"),
        ({"messages": [ASKED]}, "no_answer", "1 messages"),
        ({"messages": []}, "no_answer", "0 messages"),
        ({"instruction": "Hi?", "output": 7}, "bad_message", "should be texts"),
        ({"instruction": "Hi?", "output": "Hello.", "history": [1]}, "bad_message", "`history`"),
        ({"instruction": "Hi?", "output": "Hello.", "history": [["a", "b", "c"]]}, "bad_message", "`history`"),
        ({"messages": [ASKED, ANSWERED | {"tool_calls": 5}]}, "bad_message", "`tool_calls` is int"),
        ({"prompt": "\ud83d?", "completion": "Half a character."}, "bad_message", "surrogates not allowed"),
    ],
)
def test_what_is_no_conversation_says_why(row: Any, rule: str, evidence: str) -> None:
    with pytest.raises(Unfit) as caught:
        messages_of(row)
    assert caught.value.rule == rule
    assert rule in RULES
    assert evidence in caught.value.evidence


NAMES = sorted(
    {*FIELDS, "role", "from", "content", "value", "tool_calls", "function", "name", "arguments", "text", "chosen"}
    | {"rejected", "label", "output_1", "output_2", "preference"}
)
SCALARS = st.none() | st.booleans() | st.floats() | st.sampled_from(["Hi?", "", "\ud800", "\n\nHuman: a", *ROLES])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
)


@given(JSON)
def test_any_json_is_a_conversation_or_a_preference_or_says_why_not(row: Any) -> None:
    """What a row may be is checked by the plan too, so nothing but Unfit may come of it."""
    for read in (messages_of, preference_of):
        with suppress(Unfit):
            assert read(row)


def test_public_sets_are_read(dataset: Callable[[str], Path]) -> None:
    """Alpaca, ShareGPT with and without tool calls, messages with parts: all but a few rows are conversations."""
    folder = dataset("sft")
    for name, fit in {
        "alpaca_en_every8.jsonl": 0.99,
        "code_alpaca_2k.json": 0.99,
        "llamafactory/glaive_toolcall_en_demo.json": 0.99,
        "llamafactory/v1_sft_demo.jsonl": 0.99,
        "sharegpt_format/dummy_conversation.json": 0.99,
    }.items():
        text = (folder / name).read_text()
        rows = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)
        outcomes: Counter[str] = Counter()
        for row in rows:
            try:
                messages_of(row)
                outcomes["fit"] += 1
            except Unfit as unfit:
                outcomes[f"{unfit.rule}: {unfit.evidence}"] += 1
        assert outcomes["fit"] >= fit * len(rows), (name, outcomes.most_common(4))
