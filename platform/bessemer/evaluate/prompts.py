"""The prompt before an item: a description and solved items; as plain text, or as a conversation.

Solved items are drawn as lm-evaluation-harness draws them: one generator, seeded once per task, samples for item after
item. If the pool is the task's own data set, one more is drawn, and the asked item is left out. Unlike there, an asked
item is also left out of any other pool that holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from bessemer.errors import InputError


@dataclass(frozen=True)
class Preface:
    """A description and solved items, each a query and its answer."""

    description: str = ""
    solved: tuple[tuple[str, str], ...] = ()
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    is_conversation: bool = False
    """Whether the model gets messages, not a text."""

    def text(self, query: str) -> str:
        """The whole text before the answer, without the delimiter next to it."""
        solved = (f"{asked}{self.target_delimiter}{answer}{self.fewshot_delimiter}" for asked, answer in self.solved)
        return f"{self.description}{''.join(solved)}{query}"

    def messages(self, query: str) -> list[dict[str, str]]:
        """The same as a conversation that the assistant continues."""
        turns = [("system", self.description)] if self.description else []
        for asked, answer in self.solved:
            turns += [("user", asked), ("assistant", answer.lstrip())]
        return [{"role": role, "content": content} for role, content in [*turns, ("user", query)]]


def draw_solved(
    count: int,
    pool_size: int,
    num_fewshot: int,
    seed: int,
    is_asked: Callable[[int, int], bool],
    *,
    from_asked: bool,
) -> Iterator[list[int]]:
    """For each of `count` asked items the places of its solved items in a pool of `pool_size`.

    `is_asked(number, place)` says whether the place holds the asked item itself, which is never drawn. `from_asked`
    says that the pool is the data set of the asked items. Raises InputError if the others in the pool are too few.
    """
    if not num_fewshot:
        yield from ([] for _ in range(count))
        return
    generator = Random(seed)
    wanted = min(num_fewshot + from_asked, pool_size)
    for number in range(count):
        drawn = [place for place in generator.sample(range(pool_size), wanted) if not is_asked(number, place)]
        if len(drawn) < num_fewshot:  # the pool holds the item more often than the draw allows for
            others = [place for place in range(pool_size) if not is_asked(number, place)]
            if len(others) < num_fewshot:
                raise InputError(
                    f"`num_fewshot` is {num_fewshot}, but there are only {len(others)} other items to draw from",
                    hint="set `num_fewshot` lower, or `fewshot_dataset` to a file with more items",
                )
            drawn = generator.sample(others, num_fewshot)
        yield drawn[:num_fewshot]
