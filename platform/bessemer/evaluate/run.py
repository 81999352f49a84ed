"""Runs a task: calls the scoring function for its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from bessemer.evaluate import items
from bessemer.evaluate.bias_questions import bias_questions
from bessemer.evaluate.bits_per_byte import bits_per_byte
from bessemer.evaluate.canaries import read_canaries
from bessemer.evaluate.classifier import Classifier
from bessemer.evaluate.code import code
from bessemer.evaluate.datasets import Dataset
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.exposure import exposure
from bessemer.evaluate.generation import generation
from bessemer.evaluate.kinds import (
    BiasQuestions,
    BitsPerByte,
    Code,
    Generation,
    LanguageModelling,
    MinimalPairs,
    MultipleChoice,
    Samples,
    Schema,
    Stereotypes,
)
from bessemer.evaluate.language_modelling import language_modelling
from bessemer.evaluate.memorisation import memorisation
from bessemer.evaluate.multiple_choice import multiple_choice
from bessemer.evaluate.personal_data import Find, personal_data
from bessemer.evaluate.risks import Exposure, Memorisation, PersonalData, Toxicity
from bessemer.evaluate.samples import samples
from bessemer.evaluate.schema import schema
from bessemer.evaluate.scores import Result
from bessemer.evaluate.sentences import minimal_pairs, stereotypes
from bessemer.evaluate.toxicity import toxicity
from bessemer.tokens.store import TokenStore


@dataclass(frozen=True)
class TrainingText:
    """The training text of a model, and the detector of personal data in it."""

    documents: Sequence[Path]
    """The files of training documents."""
    read: Callable[[], Iterator[pa.Table]]
    find_personal_data: Find


@dataclass(frozen=True)
class Materials:
    """The model and the inputs that tasks need."""

    subject: EvaluatedModel
    store: TokenStore | None = None
    """Tokenized text, for tasks that read held-out or training text."""
    made: Mapping[str, Dataset] = field(default_factory=dict)
    """Kind of task -> the dataset that a stage made for tasks of this kind without `dataset`."""
    training_text: TrainingText | None = None
    """The training text, for tasks about it."""
    classifier: Path | None = None
    """Folder of the classifier of toxic text."""


def run_task(task: object, materials: Materials) -> Result:
    """Runs the task. Returns its scores and one row per item."""
    subject, store = materials.subject, materials.store
    match task:
        case BitsPerByte():
            assert store is not None, "checked before the model is loaded"
            return bits_per_byte(task, subject, store)
        case Samples():
            return samples(task, subject, store)
        case MultipleChoice():
            dataset = task.dataset or materials.made.get(task.kind)
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
            dataset = task.dataset or materials.made.get(task.kind)
            assert dataset is not None, "checked before the model is loaded"
            return generation(task, subject, items.generation_items(task, dataset))
        case Code():
            return code(task, subject, items.code_items(task))
        case Memorisation():
            assert store is not None, "checked before the model is loaded"
            return memorisation(task, subject, store)
        case Exposure():
            assert materials.training_text is not None, "checked before the model is loaded"
            return exposure(task, subject, read_canaries(materials.training_text.documents))
        case PersonalData():
            text = materials.training_text
            assert text is not None, "checked before the model is loaded"
            return personal_data(task, subject, store, text.read(), text.find_personal_data)
        case Toxicity():
            assert materials.classifier is not None, "checked before the model is loaded"
            return toxicity(task, subject, items.prompt_items(task), Classifier.load(materials.classifier))
    raise AssertionError(f"unknown kind of task: {task}")
