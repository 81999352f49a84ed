"""Carries out a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bessemer.evaluate.bits_per_byte import bits_per_byte
from bessemer.evaluate.multiple_choice import multiple_choice
from bessemer.evaluate.questions import read_questions
from bessemer.evaluate.samples import samples
from bessemer.evaluate.scores import Result
from bessemer.evaluate.subject import Subject
from bessemer.evaluate.tasks import BitsPerByte, MultipleChoice, Task
from bessemer.tokens.store import TokenStore


def run_task(task: Task, subject: Subject, store: TokenStore, questions: Sequence[Path]) -> Result:
    """The task's scores and items. `questions` are the files asked where a task names no `dataset` of its own."""
    if isinstance(task, BitsPerByte):
        return bits_per_byte(task, subject, store)
    if isinstance(task, MultipleChoice):
        files = questions if task.dataset is None else [Path(task.dataset)]
        return multiple_choice(task, subject, read_questions(files))
    return samples(task, subject, store)
