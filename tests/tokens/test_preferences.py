"""Rows of every common preference format become the same pair. Other rows raise Removed with the broken rule."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts.ledger import Removed
from bessemer.tokens.preferences import Preference, preference_of

ASKED = {"role": "user", "content": "Hi?"}
GOOD, BAD = {"role": "assistant", "content": "Hello."}, {"role": "assistant", "content": "Go."}
KIND = {"role": "system", "content": "Be kind."}
KIND_PAIR = Preference([KIND, ASKED], [GOOD], [BAD])
PAIR = Preference([ASKED], [GOOD], [BAD])


@pytest.mark.parametrize(
    ("row", "preference"),
    [
        ({"prompt": "Hi?", "chosen": "Hello.", "rejected": "Go."}, PAIR),
        ({"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}, PAIR),
        ({"prompt": "Hi?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, PAIR),
        ({"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, PAIR),
        (
            {
                "chosen": "\n\nHuman: Hi?\n\nAssistant: Hello.",
                "rejected": "\n\nHuman: Hi?\n\nAssistant: Go.",
            },
            PAIR,
        ),
        (
            {
                "conversations": [{"from": "human", "value": "Hi?"}],
                "chosen": {"from": "gpt", "value": "Hello."},
                "rejected": {"from": "gpt", "value": "Go."},
            },
            PAIR,
        ),
        ({"instruction": "Hi?", "output_1": "Go.", "output_2": "Hello.", "preference": 1.9}, PAIR),
        ({"instruction": "Hi?", "output_1": "Hello.", "output_2": "Go.", "preference": 1.0}, PAIR),
        ({"prompt": "Hi?", "completion": "Hello.", "label": True}, Preference([ASKED], [GOOD], None)),
        ({"messages": [ASKED, BAD], "kto_tag": False}, Preference([ASKED], None, [BAD])),
        ({"instruction": "Hi?", "chosen": "Hello.", "rejected": "Go."}, PAIR),
        ({"question": "Hi?", "chosen": "Hello.", "rejected": "Go."}, PAIR),
        ({"system": "Be kind.", "prompt": "Hi?", "chosen": "Hello.", "rejected": "Go."}, KIND_PAIR),
        ({"system": "Be kind.", "prompt": "Hi?", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, KIND_PAIR),
        ({"system": "Be kind.", "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}, KIND_PAIR),
        ({"prompt": "Hi?", "chosen": [KIND, ASKED, GOOD], "rejected": [KIND, ASKED, BAD]}, KIND_PAIR),
        (
            {"system": "Be kind.", "prompt": "Hi?", "completion": "Go.", "label": False},
            Preference([KIND, ASKED], None, [BAD]),
        ),
        (
            {"instruction": "Hi?", "output_1": "Hello.", "output_2": "Go.", "preference": 1, "tools": [{"name": "f"}]},
            Preference([ASKED], [GOOD], [BAD], {"tools": [{"name": "f"}]}),
        ),
    ],
)
def test_formats(row: dict[str, Any], preference: Preference) -> None:
    assert preference_of(row) == preference


def test_columns_of_other_names_are_read_as_fields() -> None:
    names = {"prompt": "ask", "chosen": "better", "rejected": "worse"}
    assert preference_of({"ask": "Hi?", "better": "Hello.", "worse": "Go."}, columns=names) == PAIR


def test_answers_of_a_dialogue_begin_where_they_part() -> None:
    long = [ASKED, GOOD, {"role": "user", "content": "And?"}]
    found = preference_of({"chosen": [*long, GOOD], "rejected": [*long, BAD]})
    assert (found.prompt, found.chosen, found.rejected) == (long, [GOOD], [BAD])


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("a text", "not_an_object"),
        ({"prompt": "Hi?", "completion": "Hello."}, "no_preference"),
        ({"prompt": "Hi?", "chosen": "Hello.", "rejected": None}, "no_preference"),
        ({"prompt": "Hi?", "chosen": "Hello.", "rejected": "Hello."}, "identical_answers"),
        ({"prompt": "Hi?", "chosen": " ", "rejected": "Go."}, "empty_answer"),
        ({"prompt": "Hi?", "chosen": [], "rejected": "Go."}, "empty_answer"),
        ({"prompt": "", "chosen": "Hello.", "rejected": "Go."}, "empty_message"),
        ({"chosen": [GOOD], "rejected": [BAD]}, "different_prompts"),
        ({"chosen": "Hello.", "rejected": "Go."}, "different_prompts"),
        ({"prompt": [ASKED, GOOD], "chosen": "Hello.", "rejected": "Go."}, "wrong_order"),
        ({"instruction": "Hi?", "output_1": "a", "output_2": "b", "preference": 3}, "no_preference"),
        ({"instruction": "Hi?", "output_1": "a", "output_2": "b", "preference": True}, "no_preference"),
        ({"prompt": "Hi?", "chosen": "\udc00", "rejected": "Go."}, "bad_message"),
        (
            {"system": "Be kind.", "prompt": [KIND | {"content": "Be terse."}, ASKED], "chosen": "a", "rejected": "b"},
            "two_systems",
        ),
        ({"prompt": "Hi?", "chosen": [GOOD | {"weight": 0}], "rejected": "Go."}, "bad_message"),
        ({"prompt": 7, "chosen": "Hello.", "rejected": "Go."}, "bad_message"),
    ],
)
def test_a_row_that_is_none_says_why(row: Any, rule: str) -> None:
    with pytest.raises(Removed) as caught:
        preference_of(row)
    assert caught.value.rule == rule


def test_public_sets_are_read(dataset: Callable[[str], Path]) -> None:
    """HH-RLHF's transcripts, LLaMA-Factory's demonstrations and AlpacaEval: rows are kept, or raise only Removed."""
    verdicts: Counter[tuple[str, str]] = Counter()
    for path in sorted(dataset("preference").rglob("*")):
        if path.suffix not in (".json", ".jsonl") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
        for row in rows:
            try:
                preference_of(row)
                verdicts[path.name, "kept"] += 1
            except Removed as unfit:
                verdicts[path.name, unfit.rule] += 1
    assert sum(count for (_, rule), count in verdicts.items() if rule == "kept") > 2500, verdicts
