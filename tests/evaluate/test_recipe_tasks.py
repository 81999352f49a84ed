"""The tasks of a recipe: defaults, missing inputs, and datasets that earlier stages made."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from bessemer.artifacts.documents import write_parquet
from bessemer.errors import InputError, UsageError
from bessemer.evaluate.kinds.generation import Generation
from bessemer.evaluate.kinds.memorisation import Memorisation
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.kinds.personal_data import PersonalData
from bessemer.evaluate.recipe_tasks import check_files, check_inputs, check_made_items, default_tasks, made_datasets
from bessemer.tokens.row_tables import CONVERSATIONS


def test_questions_are_asked_by_default_if_the_recipe_makes_them() -> None:
    assert list(default_tasks(["tokens"])) == ["held_out", "samples"]
    assert list(default_tasks(["tokens", "questions"])) == ["held_out", "questions", "samples"]


def test_a_missing_artifact_is_named_with_the_stage_that_makes_it() -> None:
    given = PersonalData(kind="personal_data", prompts=("Dear",))
    begun = PersonalData(kind="personal_data")
    check_inputs({"a": given}, ["documents"])
    for task, artifacts, message, hint in (
        (Memorisation(kind="memorisation"), ["documents"], "reads training text", "put `tokenize` before"),
        (begun, ["documents"], "reads training text, and no stage above makes tokens", "`tokenize`"),
        (begun, ["tokens"], "reads training documents", "put the stages of the documents before"),
        (MultipleChoice(kind="multiple_choice"), ["conversations"], "has no questions", "a stage `questions`"),
        (Generation(kind="generation"), ["questions"], "has no questions", "a stage `conversations` with a split"),
    ):
        with pytest.raises(UsageError, match=f"the task `a` {message}") as caught:
            check_inputs({"a": task}, artifacts)
        assert hint in caught.value.hint


def test_the_questions_of_conversations_are_those_with_one_turn(tmp_path: Path) -> None:
    def conversation(name: str, *roles: str, split: str = "test") -> dict[str, object]:
        messages = [{"role": role, "content": f"{role} of {name}"} for role in roles]
        known = {"id": name, "url": name, "source": "a", "split": split, "messages": messages}
        return known | {"fields": '{"level": 3}', "ids": [1], "learned": [True], "prompt_length": 1}

    turn = ("user", "assistant")
    rows = [conversation("one", *turn), conversation("two", *turn, *turn), conversation("three", *turn, split="tune")]
    write_parquet(pa.Table.from_pylist(rows, schema=CONVERSATIONS), tmp_path / "rows.parquet")
    made = made_datasets(None, [tmp_path / "rows.parquet"], tmp_path)
    task = Generation(kind="generation")
    check_made_items({"chat": task}, made)
    (item,) = task.items(made)
    assert (item.id, item.query, item.references) == ("one", "user of one", ("assistant of one",))
    assert item.row["level"] == 3
    write_parquet(pa.Table.from_pylist(rows[1:], schema=CONVERSATIONS), tmp_path / "rows.parquet")
    with pytest.raises(UsageError, match="the task `chat` has no questions"):
        check_made_items({"chat": task}, made_datasets(None, [tmp_path / "rows.parquet"], tmp_path))


def test_a_row_that_is_not_an_item_is_named_with_its_task(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"query": "q", "choices": ["a"], "gold": 0}))
    task = MultipleChoice(kind="multiple_choice", dataset=str(tmp_path / "rows.jsonl"))
    with pytest.raises(InputError, match=r"the task `asked`: rows that are not items: `rows\.jsonl` line 1"):
        check_files({"asked": task})
