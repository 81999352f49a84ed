"""Makes a task's items from the rows of its dataset with its templates. All items are checked before the model runs.

Does not import torch.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from jinja2 import TemplateError, UndefinedError

from bessemer.errors import InputError
from bessemer.evaluate.datasets import Dataset, Row, read_rows
from bessemer.evaluate.kinds import (
    BiasQuestions,
    Code,
    Generation,
    Items,
    LanguageModelling,
    MinimalPairs,
    MultipleChoice,
    Prompted,
    Schema,
    Stereotypes,
)
from bessemer.evaluate.prompts import Preface, draw_solved
from bessemer.evaluate.risks import Toxicity
from bessemer.evaluate.templates import expression, template

NUM_NAMED_PROBLEMS = 3


@dataclass(frozen=True)
class Item(ABC):
    """One item of a task, with its id and its category."""

    id: str
    group: str | None

    @property
    @abstractmethod
    def text(self) -> str:
        """The text that must not be in the training text."""


@dataclass(frozen=True)
class AskedItem(Item):
    """An item with an answer. Its prompt may show solved items first."""

    preface: Preface = field(default=Preface(), kw_only=True)

    @property
    @abstractmethod
    def solved(self) -> tuple[str, str]:
        """(query, answer), as shown in the prompt of another item."""

    @property
    def right_answers(self) -> tuple[str, ...]:
        return (self.solved[1],)

    def is_shown_by(self, example: AskedItem) -> bool:
        """Whether `example` has this item's query and one of its right answers. Other columns of the row may differ."""
        query, answer = example.solved
        right = {text.strip() for text in self.right_answers}
        return query.strip() == self.solved[0].strip() and answer.strip() in right

    @property
    def text(self) -> str:
        return " ".join(self.solved)


@dataclass(frozen=True)
class ChoiceItem(AskedItem):
    query: str
    choices: tuple[str, ...]
    gold: tuple[int, ...]
    """The numbers of the right choices."""
    query_without_passage: str | None = None

    @property
    def solved(self) -> tuple[str, str]:
        return self.query, self.choices[self.gold[0]]

    @property
    def right_answers(self) -> tuple[str, ...]:
        return tuple(self.choices[number] for number in self.gold)


@dataclass(frozen=True)
class BiasItem(ChoiceItem):
    biased: int = field(kw_only=True)
    unknown: int = field(kw_only=True)
    ambiguous: bool = field(kw_only=True)


@dataclass(frozen=True)
class SchemaItem(AskedItem):
    contexts: tuple[str, ...]
    continuation: str
    gold: int

    @property
    def solved(self) -> tuple[str, str]:
        return self.contexts[self.gold], self.continuation


@dataclass(frozen=True)
class ContinuationItem(AskedItem):
    context: str
    continuation: str

    @property
    def solved(self) -> tuple[str, str]:
        return self.context, self.continuation


@dataclass(frozen=True)
class SentencesItem(Item):
    """Sentences that are compared without a prompt."""

    sentences: tuple[str, ...]
    target: str = ""

    @property
    def text(self) -> str:
        return self.sentences[0]


@dataclass(frozen=True)
class GenerationItem(AskedItem):
    query: str
    references: tuple[str, ...]
    incorrect: tuple[str, ...] = ()
    row: Mapping[str, Any] = field(default_factory=dict)
    """The item's row in the dataset."""

    @property
    def solved(self) -> tuple[str, str]:
        return self.query, self.references[0]

    @property
    def right_answers(self) -> tuple[str, ...]:
        return self.references


@dataclass(frozen=True)
class CodeItem(Item):
    prompt: str
    test: str

    @property
    def text(self) -> str:
        return self.prompt


@dataclass(frozen=True)
class PromptItem(Item):
    """A text to continue, without a right answer."""

    prompt: str

    @property
    def text(self) -> str:
        return self.prompt


Found = TypeVar("Found", bound=Item)
Asked = TypeVar("Asked", bound=AskedItem)


def choice_items(task: MultipleChoice, dataset: Dataset) -> list[ChoiceItem]:
    """Reads the items from `dataset`: the task's dataset, or the one of an artifact."""

    def make(row: Row, id: str, group: str | None) -> ChoiceItem:
        choices = _choices(task.choices, row)
        without = task.query_without_passage
        return ChoiceItem(
            id,
            group,
            template(task.query)(row.values),
            choices,
            _gold(expression(task.gold)(row.values), choices),
            None if without is None else template(without)(row.values),
        )

    return _prompted(task, dataset, make)


def bias_items(task: BiasQuestions) -> list[BiasItem]:
    def make(row: Row, id: str, group: str | None) -> BiasItem:
        choices = _choices(task.choices, row)
        biased = template(task.biased)(row.values)
        if biased not in [str(number) for number in range(len(choices))]:
            raise ValueError(f"`biased` is `{biased}`, not a number from 0 to {len(choices) - 1}")
        (unknown,) = _numbers("unknown", expression(task.unknown)(row.values), len(choices))
        gold = _gold(expression(task.gold)(row.values), choices)
        ambiguous = bool(expression(task.ambiguous)(row.values))
        query = template(task.query)(row.values)
        return BiasItem(id, group, query, choices, gold, biased=int(biased), unknown=unknown, ambiguous=ambiguous)

    return _prompted(task, task.dataset, make)


def schema_items(task: Schema) -> list[SchemaItem]:
    def make(row: Row, id: str, group: str | None) -> SchemaItem:
        contexts = _texts("contexts", expression(task.contexts)(row.values), at_least=2)
        (gold,) = _numbers("gold", expression(task.gold)(row.values), len(contexts))
        return SchemaItem(id, group, contexts, _text("continuation", task.continuation, row), gold)

    return _prompted(task, task.dataset, make)


def continuation_items(task: LanguageModelling) -> list[ContinuationItem]:
    def make(row: Row, id: str, group: str | None) -> ContinuationItem:
        return ContinuationItem(
            id, group, template(task.context)(row.values), _text("continuation", task.continuation, row)
        )

    return _prompted(task, task.dataset, make)


def sentences_items(task: MinimalPairs | Stereotypes) -> list[SentencesItem]:
    """Reads the items: the two sentences of a pair; or a stereotype, its opposite and the unrelated sentence."""
    names = ("sentence", "other") if isinstance(task, MinimalPairs) else ("stereotype", "anti_stereotype", "unrelated")

    def make(row: Row, id: str, group: str | None) -> SentencesItem:
        sentences = tuple(_text(name, getattr(task, name), row) for name in names)
        target = "" if isinstance(task, MinimalPairs) else template(task.target)(row.values)
        return SentencesItem(id, group, sentences, target)

    return _collect(task, read_rows(task.dataset)[: task.limit], make)


def generation_items(task: Generation, dataset: Dataset) -> list[GenerationItem]:
    """Reads the items from `dataset`: the task's dataset, or the one of an artifact."""

    def make(row: Row, id: str, group: str | None) -> GenerationItem:
        references = _texts("references", expression(task.references)(row.values), at_least=1)
        wrong = task.incorrect
        incorrect = () if wrong is None else _texts("incorrect", expression(wrong)(row.values), at_least=1)
        return GenerationItem(id, group, template(task.query)(row.values), references, incorrect, row.values)

    return _prompted(task, dataset, make)


def code_items(task: Code) -> list[CodeItem]:
    def make(row: Row, id: str, group: str | None) -> CodeItem:
        return CodeItem(id, group, _text("prompt", task.prompt, row), _text("test", task.test, row))

    return _collect(task, read_rows(task.dataset)[: task.limit], make)


def prompt_items(task: Toxicity) -> list[PromptItem]:
    """Reads the distinct prompts, in the order of their first occurrence."""

    def make(row: Row, id: str, group: str | None) -> PromptItem:
        return PromptItem(id, group, _text("prompt", task.prompt, row))

    distinct: dict[str, PromptItem] = {}
    for item in _collect(task, read_rows(task.dataset), make):
        distinct.setdefault(item.prompt, item)
    return list(distinct.values())[: task.limit]


def read_items(task: Items, made: Mapping[str, Dataset] | None = None) -> Sequence[Item]:
    """Reads the items of any task. A task without a dataset has the items that a stage `made` for its kind, if any.

    Raises InputError if the dataset does not exist, or if some of its rows are not items.
    """
    match task:
        case MultipleChoice():
            dataset = task.dataset or (made or {}).get(task.kind)
            return choice_items(task, dataset) if dataset is not None else []
        case BiasQuestions():
            return bias_items(task)
        case Schema():
            return schema_items(task)
        case LanguageModelling():
            return continuation_items(task)
        case MinimalPairs() | Stereotypes():
            return sentences_items(task)
        case Generation():
            dataset = task.dataset or (made or {}).get(task.kind)
            return generation_items(task, dataset) if dataset is not None else []
        case Code():
            return code_items(task)
        case Toxicity():
            return prompt_items(task)
    raise AssertionError(f"this kind of task has no items: {task}")


def _prompted(task: Prompted, dataset: Dataset, make: Callable[[Row, str, str | None], Asked]) -> list[Asked]:
    """Reads the items and draws the solved items of each prompt."""
    rows = read_rows(dataset)
    pool_rows = read_rows(task.fewshot_dataset) if task.num_fewshot and task.fewshot_dataset is not None else rows
    pool = _collect(task, pool_rows, make) if task.num_fewshot else []
    asked = rows[: task.limit]
    items = _collect(task, asked, make)

    def is_asked(number: int, place: int) -> bool:
        return asked[number].values == pool_rows[place].values or items[number].is_shown_by(pool[place])

    draws = draw_solved(
        len(items),
        len(pool_rows),
        task.num_fewshot,
        task.fewshot_seed,
        is_asked,
        from_asked=[row.values for row in pool_rows] == [row.values for row in rows],
    )
    return [
        replace(
            item,
            preface=Preface(
                task.description,
                tuple(pool[place].solved for place in drawn),
                task.target_delimiter,
                task.fewshot_delimiter,
                task.apply_chat_template,
            ),
        )
        for item, drawn in zip(items, draws, strict=True)
    ]


def _collect(task: Items, rows: Sequence[Row], make: Callable[[Row, str, str | None], Found]) -> list[Found]:
    """Makes an item from every row. Raises InputError with the file and line of the first rows that are not items."""
    items: list[Found] = []
    problems: list[str] = []
    for row in rows:
        try:
            group = None if task.group is None else template(task.group)(row.values)
            items.append(make(row, row.id, group))
        except UndefinedError as error:
            found = re.match(r"'(\w+)' is undefined", str(error))
            problems.append(f"{row.place}: no column `{found[1]}`" if found else f"{row.place}: {error}")
        except (TemplateError, ValueError, TypeError, LookupError, ArithmeticError) as error:
            problems.append(f"{row.place}: {error}")
    if problems:
        more = f" and {len(problems) - NUM_NAMED_PROBLEMS} more" if len(problems) > NUM_NAMED_PROBLEMS else ""
        raise InputError(
            f"rows that are not items: {'; '.join(problems[:NUM_NAMED_PROBLEMS])}{more}",
            hint="fix the rows, or the task's templates that name their columns",
        )
    return items


def _text(name: str, source: str, row: Row) -> str:
    """Renders a template. Raises ValueError if the text is empty."""
    text = template(source)(row.values)
    if not text:
        raise ValueError(f"`{name}` is empty")
    return text


def _choices(source: str | tuple[str, ...], row: Row) -> tuple[str, ...]:
    if isinstance(source, str):
        return _texts("choices", expression(source)(row.values), at_least=2)
    return _texts("choices", [template(one)(row.values) for one in source], at_least=2)


def _texts(name: str, value: Any, *, at_least: int) -> tuple[str, ...]:
    texts = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(texts) < at_least or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"`{name}` is not a list of {at_least} or more texts")
    return texts


def _gold(value: Any, choices: tuple[str, ...]) -> tuple[int, ...]:
    """The numbers of the right choices, which `value` gives as numbers or as texts."""
    several = value if isinstance(value, list | tuple) else [value]
    numbers = [choices.index(one) if isinstance(one, str) and one in choices else one for one in several]
    return _numbers("gold", numbers, len(choices))


def _numbers(name: str, value: Any, count: int) -> tuple[int, ...]:
    """Reads one number of a choice, or a list of them."""
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
            raise ValueError(f"`{name}` is not a number from 0 to {count - 1}")
    if not numbers:
        raise ValueError(f"`{name}` is empty")
    return numbers
