"""The interface of a kind of task: settings, items and score. Does not import torch.

A kind of task is a subclass of `Task` in `kinds/`. Its fields are its settings. `items()` reads the items from the rows
of a dataset. `score()` runs the model on them. The other members declare what the stage `evaluate` needs to know: the
artifacts that the task reads, the files that it names, and how its metrics are compared.

A setting that turns an item into text is a Jinja template (`"Question: {{question}}"`). A setting that turns an item
into another value is a Jinja expression (`[ans0, ans1, ans2]`, `label`). Both can use the columns of the item's row by
name. `row` is the whole row, for columns whose names are not identifiers (`row['Best Answer']`). Settings that
lm-evaluation-harness has too keep its names.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, NonNegativeInt, PositiveInt

from bessemer.artifacts.descriptions import Metric
from bessemer.evaluate.datasets import Dataset, content
from bessemer.evaluate.scores import Numbers, Result
from bessemer.evaluate.templates import check_expression, check_template
from bessemer.recipe.settings import Settings, execution

if TYPE_CHECKING:
    from bessemer.evaluate.dataset_items import Item
    from bessemer.evaluate.materials import Materials

HeldOutSplit = Literal["validation", "test"]
Template = Annotated[str, AfterValidator(check_template)]
Expression = Annotated[str, AfterValidator(check_expression)]


@dataclass(frozen=True)
class TaskInput:
    """An artifact that a task reads, and the text in it that the task needs."""

    artifact: str
    content: str


HELD_OUT_TEXT = TaskInput("tokens", "held-out text")
TRAINING_TEXT = TaskInput("tokens", "training text")
TRAINING_DOCUMENTS = TaskInput("documents", "training documents")
CLASSIFIER = TaskInput("classifier", "a classifier")


@dataclass(frozen=True)
class PredictedText:
    """The documents that a task predicts: a split of the recipe's documents, or the `documents` at these paths."""

    split: HeldOutSplit
    documents: tuple[str, ...] = ()
    text_field: str = "text"
    """The field or column with the text of `documents`."""


class Task(Settings):
    """Base of every kind of task."""

    descriptions: ClassVar[Mapping[str, Metric]] = {}
    """Unit and meaning of the metrics that this kind adds to those of the kinds before it."""
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    """The metrics that are better if lower. Other metrics are better if higher, except bias metrics, which have no
    better direction."""
    shows_samples: ClassVar[bool] = False
    """Whether the items are texts for people to read, which `samples.jsonl` collects."""

    metrics: tuple[str, ...]
    """The headline metrics."""

    @property
    def headlines(self) -> tuple[str, ...]:
        """The metrics that are logged to MLflow, the most important first. The artifact's table of scores has more."""
        return self.metrics

    @property
    def inputs(self) -> tuple[TaskInput, ...]:
        """The artifacts that the task reads in addition to the model."""
        return ()

    @property
    def items_from(self) -> str | None:
        """The kind of artifact that contains the items if the task names no dataset."""
        return None

    @property
    def predicted_text(self) -> PredictedText | None:
        """The documents that the task predicts. If set, the ids of the result's items are ids of documents."""
        return None

    @property
    def is_conversation(self) -> bool:
        """Whether the task needs the tokenizer's chat template."""
        return False

    @property
    def runs_programs(self) -> bool:
        """Whether the task runs programs that the model wrote."""
        return False

    def content(self, name: str) -> dict[str, Any]:
        """Identifies the content of the files of the task `name`, for the fingerprint: JSON values by keys that contain
        the name."""
        return {}

    def items(self, made: Mapping[str, Dataset]) -> Sequence[Item]:
        """Reads and checks the items. `made` has the datasets of artifacts, by kind of artifact.

        Raises InputError if the dataset does not exist, or if some of its rows are not items.
        """
        return []

    @abstractmethod
    def score(self, materials: Materials) -> Result:
        """Runs the model. Returns the scores and one row per item."""

    def by_item(self, metric: str, items: pa.Table) -> tuple[list[str], Numbers, Numbers] | None:
        """Returns (ids, terms of the numerator, terms of the denominator) of the items that have the metric.

        This is the mean of the column with the metric's name. Returns None if the items do not have that column.
        """
        return mean_by_item(metric, items)


def mean_by_item(column: str, items: pa.Table) -> tuple[list[str], Numbers, Numbers] | None:
    if column not in items.column_names or not pa.types.is_floating(items.schema.field(column).type):
        return None
    having = items.filter(items[column].is_valid())
    if not len(having):
        return None
    return having["id"].to_pylist(), having[column].to_numpy(), np.ones(len(having))


class DatasetTask(Task):
    """The settings that all tasks on a dataset share."""

    dataset: Dataset = execution(...)
    """Path of the items; or, for each column, the path of a text file with one value per line."""
    limit: PositiveInt | None = None
    """Largest number of items, counted from the first row."""
    group: Template | None = None
    """The category of an item. Scores are also reported by category."""

    def content(self, name: str) -> dict[str, Any]:
        datasets = (self.dataset, getattr(self, "fewshot_dataset", None))
        return {name: [None if dataset is None else content(dataset) for dataset in datasets]}


class PromptedTask(DatasetTask):
    """The settings that all tasks with a prompt share."""

    description: str = ""
    """Text at the start of the prompt. In a conversation it is the system message."""
    num_fewshot: NonNegativeInt = 0
    """Number of solved items in the prompt before the asked item."""
    fewshot_dataset: Dataset | None = execution(None)
    """Dataset of the solved items. If unset, `dataset`. The asked item itself is never among them."""
    fewshot_delimiter: str = "\n\n"
    """Text after each solved item."""
    fewshot_seed: NonNegativeInt = 1234
    """Seed of the draw of solved items. With equal items and an equal seed, lm-evaluation-harness draws the same."""
    target_delimiter: str = " "
    """Text between a query and its answer. Not used in a conversation."""
    apply_chat_template: bool = False
    """Whether the prompt is a conversation in the format of the tokenizer's chat template, which instruction-tuned
    models expect. Solved items become messages of the user and the assistant."""

    @property
    def is_conversation(self) -> bool:
        return self.apply_chat_template
