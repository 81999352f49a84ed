"""Items with several possible answers, which the kinds `multiple_choice` and `bias_questions` share."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.evaluate.dataset_items import AskedItem, checked_texts, numbers_of, texts_of
from bessemer.evaluate.datasets import Row
from bessemer.evaluate.templates import expression, template


@dataclass(frozen=True)
class ChoiceItem(AskedItem):
    """A query and its possible answers."""

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


def read_choices(source: str | tuple[str, ...], row: Row) -> tuple[str, ...]:
    """Reads the choices with an expression or a list of templates. Raises ValueError for fewer than two."""
    if isinstance(source, str):
        return texts_of("choices", source, row, at_least=2)
    return checked_texts("choices", [template(one)(row.values) for one in source], at_least=2)


def read_gold(source: str, row: Row, choices: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the numbers of the right choices. The expression gives their numbers or their texts."""
    value = expression(source)(row.values)
    several = value if isinstance(value, list | tuple) else [value]
    numbers = [choices.index(one) if isinstance(one, str) and one in choices else one for one in several]
    return numbers_of("gold", numbers, len(choices))
