"""Carries out a task."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.evaluate import items
from bessemer.evaluate.bias_questions import bias_questions
from bessemer.evaluate.bits_per_byte import bits_per_byte
from bessemer.evaluate.datasets import Dataset
from bessemer.evaluate.generation import generation
from bessemer.evaluate.kinds import (
    BiasQuestions,
    BitsPerByte,
    Generation,
    LanguageModelling,
    MinimalPairs,
    MultipleChoice,
    Samples,
    Schema,
    Stereotypes,
)
from bessemer.evaluate.language_modelling import language_modelling
from bessemer.evaluate.multiple_choice import multiple_choice
from bessemer.evaluate.samples import samples
from bessemer.evaluate.schema import schema
from bessemer.evaluate.scores import Result
from bessemer.evaluate.sentences import minimal_pairs, stereotypes
from bessemer.evaluate.subject import Subject
from bessemer.tokens.store import TokenStore


@dataclass(frozen=True)
class Materials:
    """What tasks are carried out with."""

    subject: Subject
    store: TokenStore | None = None
    """Held-out text, for the tasks that read it."""
    questions: Dataset | None = None
    """What multiple choice asks where it names no dataset of its own."""


def run_task(task: object, materials: Materials) -> Result:
    """The task's scores and items."""
    subject, store = materials.subject, materials.store
    match task:
        case BitsPerByte():
            assert store is not None, "checked before the model is loaded"
            return bits_per_byte(task, subject, store)
        case Samples():
            return samples(task, subject, store)
        case MultipleChoice():
            dataset = task.dataset or materials.questions
            assert dataset is not None, "checked before the model is loaded"
            return multiple_choice(task, subject, items.choice_items(task, dataset))
        case Schema():
            return schema(subject, items.schema_items(task))
        case LanguageModelling():
            return language_modelling(subject, items.continuation_items(task))
        case MinimalPairs():
            return minimal_pairs(task, subject, items.sentences_items(task))
        case Stereotypes():
            return stereotypes(subject, items.sentences_items(task))
        case BiasQuestions():
            return bias_questions(subject, items.bias_items(task))
        case Generation():
            return generation(task, subject, items.generation_items(task))
    raise AssertionError(f"a kind of task that nothing carries out: {task}")
