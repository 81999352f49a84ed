"""Every kind of artifact has a view: dialogues, whole texts, one table of scores, a description of the rest."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.runner.toy import HOOKS, TABLE

from bessemer import storage
from bessemer.artifacts.documents import write_parquet
from bessemer.errors import UsageError
from bessemer.evaluate.scores import Score, write_scores
from bessemer.runner.views import dialogue, view
from bessemer.tokens.row_tables import PREFERENCES


@pytest.fixture
def shown(execute: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The view of a stage that produces `kind`. `write(folder)` writes its data."""

    def show(kind: str, write: Any) -> Any:
        HOOKS["data"] = lambda draft, context: write(draft.data)
        run, _ = execute("write.hook=data")
        plan = run.plan()
        plan["stages"][0]["produces"] = kind
        storage.write_json(run.folder / "plan.json", plan)
        return view(run, "write", 5)

    return show


def test_a_conversation_reads_as_a_dialogue() -> None:
    said = dialogue(
        [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Two\nlines?"},
            {"role": "assistant", "content": None, "tool_calls": [{"name": "add"}], "reasoning_content": ""},
        ]
    )
    assert said == 'system: Be short.\n\nuser: Two\nlines?\n\nassistant: \n  tool_calls: [{"name": "add"}]'


def test_a_preference_shows_both_answers(shown: Any) -> None:
    def write(folder: Any) -> None:
        row = {"id": "a", "url": "file:a", "source": "s", "split": "tune"}
        sides = {name: [{"role": role, "content": name}] for name, role in
                 (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant"))}  # fmt: skip
        ids = {"prompt_ids": np.arange(3), "chosen_ids": np.arange(2), "rejected_ids": np.arange(1)}
        write_parquet(pa.Table.from_pylist([row | sides | ids], schema=PREFERENCES), folder / "00000.parquet")

    (item,) = shown("preferences", write).items
    assert item.text == "--- prompt\nuser: prompt\n\n--- chosen\nassistant: chosen\n\n--- rejected\nassistant: rejected"
    assert item.facts == {"id": "a", "url": "file:a", "source": "s", "split": "tune", "tokens": 3}


def test_scores_are_one_table(shown: Any) -> None:
    scores = [
        ("base", "qa", Score("acc", 0.25, 0.012, 400, None, 0.25)),
        ("tuned", "qa", Score("perplexity", 10190.4, None, 400)),
    ]
    found = shown("scores", lambda folder: write_scores(folder, scores))
    assert found.header == ["model", "task", "metric", "value", "n", "chance"]
    assert found.rows == [
        ["base", "qa", "acc", "0.25 ± 0.012", "400", "0.25"],
        ["tuned", "qa", "perplexity", "10.2k", "400", ""],
    ]
    assert json.dumps(found.raw)
    assert found.raw[0]["standard_error"] == 0.012


def test_questions_show_their_choices(shown: Any) -> None:
    row = {"id": "q", "question": "Which?", "choices": ["a", "b"], "answer": 1}
    found = shown("questions", lambda folder: storage.append_line(folder / "test.jsonl", row))
    assert [(item.text, item.facts) for item in found.items] == [("Which?\n  0. a\n  1. b", {"id": "q", "answer": 1})]


def test_any_other_artifact_is_described(execute: Any) -> None:
    run, _ = execute()
    found = dict(row for row in view(run, "join", 5).rows)
    assert (found["kind"], found["data/length"], found["data/text"]) == ("model", "4", "4 B")


@pytest.mark.parametrize("kind", [stage.produces for stage in TABLE.values()])
def test_a_stage_that_is_not_finished_says_so(shown: Any, execute: Any, kind: str) -> None:
    run, _ = execute(until="write")
    plan = run.plan()
    plan["stages"].append(plan["stages"][0] | {"name": "later", "fingerprint": "none", "produces": kind})
    storage.write_json(run.folder / "plan.json", plan)
    with pytest.raises(UsageError, match=r"`later` of .* has no artifact"):
        view(run, "later", 5)
