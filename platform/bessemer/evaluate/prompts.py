"""The prompt before an item: a description and solved items, as plain text or as a conversation.

Solved items are drawn as in lm-evaluation-harness: one random generator, seeded once per task, samples for one item
after the other. If the pool is the task's own dataset, one more item is drawn and the asked item is dropped. Unlike
lm-evaluation-harness, the asked item is also dropped from any other pool that contains it.
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
    """Whether the prompt is a list of messages instead of a text."""

    def text(self, query: str) -> str:
        """The text before the answer, without the delimiter between query and answer."""
        solved = (f"{asked}{self.target_delimiter}{answer}{self.fewshot_delimiter}" for asked, answer in self.solved)
        return f"{self.description}{''.join(solved)}{query}"

    def messages(self, query: str) -> list[dict[str, str]]:
        """The prompt as a conversation, which ends with the user's query."""
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
    """Yields for each of `count` asked items the indices of its solved items in a pool of `pool_size`.

    `is_asked(number, place)` returns whether `place` in the pool is the asked item, which is never drawn. `from_asked`
    means that the pool is the dataset of the asked items. Raises InputError if the pool has too few other items.
    """
    if not num_fewshot:
        yield from ([] for _ in range(count))
        return
    generator = Random(seed)
    wanted = min(num_fewshot + from_asked, pool_size)
    for number in range(count):
        drawn = [place for place in generator.sample(range(pool_size), wanted) if not is_asked(number, place)]
        if len(drawn) < num_fewshot:  # the draw contained the asked item more often than expected
            others = [place for place in range(pool_size) if not is_asked(number, place)]
            if len(others) < num_fewshot:
                raise InputError(
                    f"`num_fewshot` is {num_fewshot}, but there are only {len(others)} other items to draw from",
                    hint="set `num_fewshot` lower, or `fewshot_dataset` to a file with more items",
                )
            drawn = generator.sample(others, num_fewshot)
        yield drawn[:num_fewshot]
