"""Rows of every common format become the same messages. Other rows raise Removed with the rule that they break."""

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

from bessemer.artifacts.ledger import Removed
from bessemer.tokens.conversations import FIELDS, ROLES, RULES, dialogue_of
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
        ({"question": "Hi?", "response": "Hello.", "system_prompt": "Be kind."}, [KIND, ASKED, ANSWERED]),
        ({"query": "Hi?", "response": "Hello."}, [ASKED, ANSWERED]),
        ({"instruction": "Hi?", "context": "", "response": "Hello.", "category": "chat"}, [ASKED, ANSWERED]),
        ({"system": "Be kind.", "messages": [ASKED, ANSWERED]}, [KIND, ASKED, ANSWERED]),
        ({"system": "Be kind.", "messages": [KIND, ASKED, ANSWERED]}, [KIND, ASKED, ANSWERED]),
        ({"system": " ", "conversations": [ASKED, ANSWERED]}, [ASKED, ANSWERED]),
        ({"system": "Be kind.", "prompt": "Hi?", "completion": "Hello."}, [KIND, ASKED, ANSWERED]),
    ],
)
def test_formats(row: dict[str, Any], messages: list[dict[str, str]]) -> None:
    assert dialogue_of(row).messages == messages


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
        ({"system": "Be terse.", "messages": [KIND, ASKED, ANSWERED]}, "two_systems", "Be kind. / Be terse."),
        ({"system": 5, "messages": [ASKED, ANSWERED]}, "bad_message", "a system message is int"),
        ({"messages": [ASKED, ANSWERED | {"weight": 0.5}]}, "bad_message", "`weight` is 0.5"),
        ({"messages": [ASKED | {"train": True}, ANSWERED]}, "bad_message", "only answers are learned"),
        ({"messages": [ASKED, ANSWERED | {"train_detail": []}]}, "bad_message", "`train_detail` is not supported"),
        ({"messages": [ASKED, ANSWERED], "tools": "[{"}, "bad_variables", "`tools` is a text that is not JSON"),
        ({"messages": [ASKED, ANSWERED], "tools": [5]}, "bad_variables", "`tools` are not all objects"),
        ({"messages": [ASKED, ANSWERED], "chat_template_kwargs": {"messages": []}}, "bad_variables", "`messages`"),
        ({"prompt": "\ud83d?", "completion": "Half a character."}, "bad_message", "surrogates not allowed"),
    ],
)
def test_what_is_no_conversation_says_why(row: Any, rule: str, evidence: str) -> None:
    with pytest.raises(Removed) as caught:
        dialogue_of(row)
    assert caught.value.rule == rule
    assert rule in RULES
    assert evidence in caught.value.evidence


@pytest.mark.parametrize(
    ("mark", "weights"),
    [
        ({"weight": 0}, [0]), ({"train": False}, [0]), ({"training": 0}, [0]), ({"loss": False}, [0]),
        ({"loss_weight": 0.0}, [0]), ({"weight": 1}, [None]), ({"train": True, "weight": None}, [None]), ({}, [None]),
        ({"weight": 1, "train": False}, [0]),
    ],
)  # fmt: skip
def test_an_answer_may_be_kept_out_of_the_loss(mark: dict[str, Any], weights: list[int | None]) -> None:
    found = dialogue_of({"messages": [ASKED | {"weight": 0}, ANSWERED | mark]}).messages
    assert [message.get("weight") for message in found if message["role"] == "assistant"] == weights
    assert found[0] == ASKED


QUESTION_ROWS: list[dict[str, Any]] = [
    {"messages": [ASKED, ANSWERED]},
    {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]},
    {"instruction": "Hi?", "output": "Hello."},
    {"prompt": "Hi?", "completion": "Hello."},
    {"question": "Hi?", "answer": "Hello."},
    {"query": "Hi?", "response": "Hello."},
    {"prompt": "Hi?", "chosen": "Hello.", "rejected": "Go."},
    {"prompt": "Hi?", "completion": "Hello.", "label": True},
    {"instruction": "Hi?", "output_1": "Hello.", "output_2": "Go.", "preference": 1},
]
"""One row of each format; the last three are preferences."""


@pytest.mark.parametrize("row", QUESTION_ROWS, ids=lambda row: "-".join(row))
def test_a_row_may_be_kept_out_of_training(row: dict[str, Any]) -> None:
    """The weight of a row is read in every format, and also as text, as in CSV files."""
    read = preference_of if {"chosen", "label", "output_1"} & row.keys() else dialogue_of
    for mark in ({"weight": 0}, {"train": False}, {"training": "false"}, {"loss_weight": "0.0"}, {"loss": False}):
        with pytest.raises(Removed, match="not_learned") as caught:
            read(row | mark)
        assert f"`{next(iter(mark))}` is" in caught.value.evidence
    for mark in ({"weight": 1}, {"train": "True"}, {"weight": None}, {"weight": ""}, {"loss": 2.31}, {"loss": "0.02"}):
        assert read(row | mark)
    for mark in ({"weight": 0.5}, {"train": "maybe"}, {"loss_scale": [0.0]}, {"weight": float("nan")}):
        with pytest.raises(Removed, match="bad_message"):
            read(row | mark)
    with pytest.raises(Removed, match="not_learned"):
        read(row | {"use": 0}, columns={"weight": "use"})


def test_tools_documents_and_settings_are_variables_of_the_template() -> None:
    tools, documents = [{"type": "function", "function": {"name": "look"}}], [{"title": "a", "text": "b"}]
    row = {"messages": [ASKED, ANSWERED], "documents": documents, "chat_template_kwargs": {"thinking": False}}
    expected = {"tools": tools, "documents": documents, "thinking": False}
    assert dialogue_of(row | {"tools": tools}).variables == expected
    assert dialogue_of(row | {"tools": json.dumps(tools)}).variables == expected
    assert dialogue_of(row | {"functions": [{"name": "look"}]}).variables == expected
    for empty in (None, [], "", "[]", "null"):
        assert dialogue_of({"messages": [ASKED, ANSWERED], "tools": empty}).variables == {}


def test_calls_of_tools_have_one_form() -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": {"at": "it"}}}
    written = json.dumps(call["function"])
    for said in (
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "content": None, "tool_calls": [call["function"]]},
        {"role": "assistant", "content": None, "function_call": call["function"]},
    ):
        assert dialogue_of({"messages": [ASKED, said]}).messages[1] == {
            "role": "assistant", "content": None, "tool_calls": [call],
        }  # fmt: skip
    for value in (written, f"[{written}]"):
        row = {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "function_call", "value": value}]}
        assert dialogue_of(row).messages[1] == {"role": "assistant", "content": "", "tool_calls": [call]}
    silent = [ASKED, said, {"role": "tool", "content": "", "name": "look"}, ANSWERED]
    assert dialogue_of({"messages": silent}).messages[2] == {"role": "tool", "content": "", "name": "look"}


def test_columns_that_are_not_part_of_the_conversation_are_kept() -> None:
    for row, fields in (
        ({"prompt": "Hi?", "answer": "4", "level": 2}, {"answer": "4", "level": 2}),
        ({"prompt": "Hi?", "completion": "So 4.", "response": "5", "answer": "4"}, {"response": "5", "answer": "4"}),
        ({"messages": [ASKED, ANSWERED], "prompt": "p", "source": "s"}, {"prompt": "p", "source": "s"}),
        ({"question": "Hi?", "answer": "4", "solution": "2 + 2"}, {"solution": "2 + 2"}),
    ):
        assert dialogue_of(row, answered=False).fields == fields


def test_columns_of_other_names_are_read_as_fields() -> None:
    names = {"prompt": "ask", "completion": "reply", "system": "persona"}
    row = {"ask": "Hi?", "reply": "Hello.", "persona": "Be kind.", "messages": "ignored", "n": 1}
    found = dialogue_of(row, columns=names)
    assert found.messages == [KIND, ASKED, ANSWERED]
    assert found.fields == {"messages": "ignored", "n": 1}
    chats = dialogue_of({"dialogue": [ASKED, ANSWERED]}, columns={"messages": "dialogue"})
    assert chats.messages == [ASKED, ANSWERED]


NAMES = sorted(
    {
        *FIELDS,
        "weight",
        "train",
        "reasoning_content",
        "role",
        "from",
        "content",
        "value",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "text",
        "chosen",
    }
    | {"rejected", "label", "output_1", "output_2", "preference"}
)
SCALARS = st.none() | st.booleans() | st.floats() | st.sampled_from(["Hi?", "", "\ud800", "\n\nHuman: a", *ROLES])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
)


@given(JSON)
def test_any_json_is_a_conversation_or_a_preference_or_says_why_not(row: Any) -> None:
    """`bessemer plan` reads rows too, so a row of any JSON may raise only Removed."""
    for read in (dialogue_of, preference_of):
        with suppress(Removed):
            assert read(row)


def test_public_sets_are_read(dataset: Callable[[str], Path]) -> None:
    """At least 99 % of the rows are conversations: Alpaca, ShareGPT with and without tool calls, messages with
    parts."""
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
                dialogue_of(row)
                outcomes["fit"] += 1
            except Removed as unfit:
                outcomes[f"{unfit.rule}: {unfit.evidence}"] += 1
        assert outcomes["fit"] >= fit * len(rows), (name, outcomes.most_common(4))
