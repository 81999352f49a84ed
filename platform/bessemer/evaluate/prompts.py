"""What stands before an item: a description and solved items; as plain text, or as a conversation.

Solved items are drawn as lm-evaluation-harness draws them: one generator, seeded once for a task, samples for item
after item; where the pool is the task's own items, one more is drawn and the asked one is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Preface:
    """A description and solved items: pairs of what was asked and its answer."""

    description: str = ""
    solved: tuple[tuple[str, str], ...] = ()
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    is_conversation: bool = False
    """Whether the model gets messages, not a text."""

    def text(self, query: str) -> str:
        """All that stands before the answer, without the delimiter before it."""
        solved = (f"{asked}{self.target_delimiter}{answer}{self.fewshot_delimiter}" for asked, answer in self.solved)
        return f"{self.description}{''.join(solved)}{query}"

    def messages(self, query: str) -> list[dict[str, str]]:
        """The same as a conversation that the assistant continues."""
        turns = [("system", self.description)] if self.description else []
        for asked, answer in self.solved:
            turns += [("user", asked), ("assistant", answer.lstrip())]
        return [{"role": role, "content": content} for role, content in [*turns, ("user", query)]]


def draw_solved(
    asked: Sequence[object], pool: Sequence[object], num_fewshot: int, seed: int, *, from_asked: bool
) -> Iterator[list[int]]:
    """For each asked row the places in the pool of those shown before it.

    `from_asked` says that the pool holds the asked rows too; rows are the same that are equal.
    """
    generator = Random(seed)
    for row in asked:
        if num_fewshot == 0:
            yield []
        elif not from_asked:
            yield generator.sample(range(len(pool)), num_fewshot)
        else:
            drawn = [place for place in generator.sample(range(len(pool)), num_fewshot + 1) if pool[place] != row]
            if len(drawn) < num_fewshot:  # the pool holds the row more than once, and so did the draw
                drawn = generator.sample([place for place, other in enumerate(pool) if other != row], num_fewshot)
            yield drawn[:num_fewshot]
