"""The tasks of a recipe: the default tasks, the artifacts that they read, and their items. Does not import torch."""

from __future__ import annotations

import glob
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.errors import InputError, UsageError
from bessemer.evaluate.datasets import Dataset
from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.kinds.samples import Samples
from bessemer.evaluate.task import Task

MAKERS = {
    "tokens": "`tokenize`",
    "documents": "the stages of the documents",
    "classifier": "`toxicity_classifier`",
    "questions": "a stage `questions`",
    "conversations": "a stage `conversations` with a split `test`",
}
"""The stages that make each kind of artifact that a task reads."""


def default_tasks(artifacts: Collection[str]) -> dict[str, Task]:
    """Returns the tasks of a recipe that names none. `artifacts` are the kinds of artifact that it makes."""
    asked = {"questions": MultipleChoice(kind="multiple_choice")} if "questions" in artifacts else {}
    return {"held_out": BitsPerByte(kind="bits_per_byte"), **asked, "samples": Samples(kind="samples")}


def check_inputs(tasks: Mapping[str, Task], artifacts: Collection[str]) -> None:
    """Raises UsageError if a task reads a kind of artifact that is not among `artifacts`."""
    for name, task in tasks.items():
        if task.items_from is not None and task.items_from not in artifacts:
            raise _no_items(name, task.items_from)
        for needed in task.inputs:
            if needed.artifact not in artifacts:
                raise UsageError(
                    f"the task `{name}` reads {needed.content}, and no stage above makes {needed.artifact}",
                    hint=f"put {MAKERS[needed.artifact]} before `evaluate`, or remove the task",
                )


def check_files(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """Reads every item of the tasks' files. Returns JSON values that identify the content of the files.

    Raises InputError for a file that is missing or a row that is not an item.
    """
    found: dict[str, Any] = {}
    for name, task in tasks.items():
        try:
            task.items({})
            found |= task.content(name)
        except InputError as error:
            raise InputError(f"the task `{name}`: {error.message}", hint=error.hint) from None
    return found


def made_datasets(questions: Path | None, conversations: Sequence[Path] | None, work: Path) -> dict[str, Dataset]:
    """Returns the datasets that earlier stages made, as glob patterns by kind of artifact.

    `questions` and `conversations` are the files of these artifacts, if the recipe makes them. Of the conversations,
    the questions of the split `test` are written to a file in `work`.
    """
    found: dict[str, Dataset] = {}
    if questions is not None:
        found["questions"] = glob.escape(str(questions))
    if conversations is not None and (lines := _questions_of(conversations)):
        file = work / "conversations.jsonl"
        storage.write_text(file, "".join(f"{line}\n" for line in lines))
        found["conversations"] = glob.escape(str(file))
    return found


def _questions_of(conversations: Sequence[Path]) -> list[str]:
    """Returns the test conversations with one question, one answer and no variables, as JSON lines."""
    from bessemer.tokens.row_tables import CONVERSATIONS, read_split

    names = ["id", "messages", "variables", "fields"]
    rows = read_split(conversations, CONVERSATIONS, "test", names)
    return [
        json.dumps(
            json.loads(fields) | {"id": name, "question": messages[-2]["content"], "answer": messages[-1]["content"]}
        )
        for name, messages, variables, fields in zip(*(rows[name].to_pylist() for name in names), strict=True)
        if [message["role"] for message in messages] == ["user", "assistant"] and variables is None
    ]


def check_made_items(tasks: Mapping[str, Task], made: Mapping[str, Dataset]) -> None:
    """Reads the items of tasks whose dataset an earlier stage made. `made` has these datasets by kind of artifact.

    Raises UsageError if a task has no items.
    """
    for name, task in tasks.items():
        if task.items_from is not None:
            if task.items_from not in made:
                raise _no_items(name, task.items_from)
            task.items(made)


def _no_items(name: str, artifact: str) -> UsageError:
    return UsageError(
        f"the task `{name}` has no questions",
        hint=f"set its `dataset` to a file of questions, or put {MAKERS[artifact]} before `evaluate`",
    )
