"""Makes a task's items from the rows of its dataset. All items are checked before the model runs.

The function of a kind makes one item of one row. The functions here read the rows, draw the solved items of each
prompt, and report all rows that are not items at once. Does not import torch.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from jinja2 import TemplateError, UndefinedError

from bessemer.errors import InputError
from bessemer.evaluate.datasets import Dataset, Row, read_rows
from bessemer.evaluate.prompts import Preface, draw_solved
from bessemer.evaluate.task import DatasetTask, PromptedTask
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


Found = TypeVar("Found", bound=Item)
Asked = TypeVar("Asked", bound=AskedItem)


def read_items(task: DatasetTask, dataset: Dataset, make: Callable[[Row, str | None], Found]) -> list[Found]:
    """Reads the first `limit` items. `make` turns a row and its category into an item, and raises ValueError if the row
    is not an item."""
    return collect_items(task, read_rows(dataset)[: task.limit], make)


def read_prompted_items(task: PromptedTask, dataset: Dataset, make: Callable[[Row, str | None], Asked]) -> list[Asked]:
    """Reads the items like `read_items`, and draws the solved items of each prompt."""
    rows = read_rows(dataset)
    pool_rows = read_rows(task.fewshot_dataset) if task.num_fewshot and task.fewshot_dataset is not None else rows
    pool = collect_items(task, pool_rows, make) if task.num_fewshot else []
    asked = rows[: task.limit]
    items = collect_items(task, asked, make)

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


def collect_items(task: DatasetTask, rows: Sequence[Row], make: Callable[[Row, str | None], Found]) -> list[Found]:
    """Makes an item from every row. Raises InputError with the file and line of the first rows that are not items."""
    items: list[Found] = []
    problems: list[str] = []
    for row in rows:
        try:
            group = None if task.group is None else template(task.group)(row.values)
            items.append(make(row, group))
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


def text_of(name: str, source: str, row: Row) -> str:
    """Renders a template. Raises ValueError if the text is empty."""
    text = template(source)(row.values)
    if not text:
        raise ValueError(f"`{name}` is empty")
    return text


def texts_of(name: str, source: str, row: Row, *, at_least: int) -> tuple[str, ...]:
    """Evaluates an expression. Raises ValueError unless the value is a text or a list with enough texts."""
    return checked_texts(name, expression(source)(row.values), at_least=at_least)


def checked_texts(name: str, value: Any, *, at_least: int) -> tuple[str, ...]:
    texts = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(texts) < at_least or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"`{name}` is not a list of {at_least} or more texts")
    return texts


def numbers_of(name: str, value: Any, count: int) -> tuple[int, ...]:
    """Reads one number of a choice, or a list of them."""
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
            raise ValueError(f"`{name}` is not a number from 0 to {count - 1}")
    if not numbers:
        raise ValueError(f"`{name}` is empty")
    return numbers
