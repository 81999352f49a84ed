"""The model and the inputs that a task is scored with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from bessemer.evaluate.datasets import Dataset

if TYPE_CHECKING:
    from bessemer.evaluate.evaluated_model import EvaluatedModel
    from bessemer.tokens.store import TokenStore


class GeneratedText(NamedTuple):
    """One piece of personal data in a text."""

    kind: str
    characters: str
    key: str
    """Normalised form: equal for different spellings of the same address or number."""


FindPersonalData = Callable[[Sequence[str]], list[list[GeneratedText]]]
"""Returns the personal data in each text."""


@dataclass(frozen=True)
class TrainingText:
    """The training text of a model, and the detector of personal data in it."""

    documents: Sequence[Path]
    """The files of training documents."""
    read: Callable[[], Iterator[pa.Table]]
    """Yields batches of the training documents, with the columns `id` and `text`."""
    find_personal_data: FindPersonalData


@dataclass(frozen=True)
class Materials:
    """The model and the inputs that tasks need. An input is set for every task that names it in `Task.inputs`."""

    subject: EvaluatedModel
    store: TokenStore | None = None
    """Tokenized text, for tasks that read held-out or training text."""
    made: Mapping[str, Dataset] = field(default_factory=dict)
    """Kind of artifact -> the dataset in it, for tasks without `dataset`."""
    training_text: TrainingText | None = None
    """The training text, for tasks about it."""
    classifier: Path | None = None
    """Folder of the classifier of toxic text."""
