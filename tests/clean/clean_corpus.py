"""Three hundred documents of every shape, made of `passages.txt` by a fixed recipe.

The passages are written for this project, but for three from novels in the public domain (Austen 1813, Melville 1851).
The same documents are made on every machine: only `random.Random(seed).random()` is drawn, which Python keeps stable.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
NUM_DOCUMENTS = 300


def passages() -> dict[str, list[str]]:
    """Kind -> passages."""
    found: dict[str, list[str]] = {}
    for part in Path(__file__).with_name("passages.txt").read_text(encoding="utf-8").split("=== ")[1:]:
        kind, _, text = part.partition("\n")
        found.setdefault(kind, []).append(text.removesuffix("\n"))
    return found


class Maker:
    """Draws documents."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random
        self.kinds = passages()

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def one(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def passages(self, number: int, *kinds: str) -> list[str]:
        return [self.one(self.kinds[self.one(kinds)]) for _ in range(number)]

    def prose(self) -> str:
        return "\n\n".join(self.passages(1 + self.below(6), "prose"))

    def mixed(self) -> str:
        return self.one(["\n", "\n\n"]).join(self.passages(2 + self.below(7), *self.kinds))

    def technical(self) -> str:
        return "\n\n".join(self.passages(2 + self.below(5), "technical", "technical", "code", "prose", "list"))

    def foreign(self) -> str:
        return "\n".join(self.passages(1 + self.below(4), "foreign"))

    def lines(self) -> str:
        return "\n".join(self.passages(1 + self.below(8), "list", "trailing", "table", "tags", "boilerplate"))

    def sentences_on_lines(self) -> str:
        return " ".join(self.passages(1 + self.below(3), "prose", "citations", "technical")).replace(". ", ".\n")

    def with_copies(self) -> str:
        """Prose in which lines, paragraphs or runs of words occur again."""
        text = self.one([self.prose, self.sentences_on_lines, self.mixed])()
        separator = self.one(["\n", "\n\n", " ", "\n\n\n"])
        pieces = text.split(separator)
        for _ in range(1 + self.below(5)):
            start = self.below(len(pieces))
            copied = pieces[start : start + 1 + self.below(12)]
            place = self.below(len(pieces) + 1)
            pieces[place:place] = copied * (1 + self.below(3))
        return separator.join(pieces)

    def rhythm(self) -> str:
        """A few words over and over, with some others between."""
        words = self.one(self.kinds["prose"]).split()[: 2 + self.below(9)]
        return " ".join(
            word for _ in range(8 + self.below(40)) for word in [*words, *self.passages(self.below(2), "tags")]
        )

    def untidy(self) -> str:
        """White space and line ends of all kinds."""
        ends = [
            "\r\n",
            "\r",
            "\n \n",
            "\t",
            "\u00a0",
            "\x0c",
            "\x85",
            "\u2028",
            "\n\n\n",
            "  ",
            " \n",
            "\x1c",
            "\u3000",
        ]
        words = self.one([self.prose, self.mixed])().split(" ")
        text = "".join(word + (self.one(ends) if self.random() < 0.15 else " ") for word in words)
        return self.one(["", "\n", " ", "\n\n", "\r\n"]) + text + self.one(["", "\n", " \n", "\n\n", "\r", "\u2029"])

    def glued(self) -> str:
        """Words with punctuation before, inside and after."""
        marks = [*".,:;!?'\"()[]{}<>-–—…/+*^=~_#&%$€°", "...", "--", "'s", "n't", "'ll", "e.g.", "U.S.", "1", "A", "b"]
        words = self.one(self.kinds["prose"]).split()
        glue = lambda: "".join(self.one(marks) for _ in range(self.below(3)))  # noqa: E731
        cut = [(word[: self.below(len(word))], word) for word in words]
        return " ".join(glue() + (a + glue() + b if self.random() < 0.4 else b) + glue() for a, b in cut)

    def soup(self) -> str:
        """Characters from all over Unicode."""
        blocks = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x500), (0x590, 0x700), (0x900, 0xE00), (0x2000, 0x2800)]
        blocks += [(0x3000, 0x3100), (0x4E00, 0x4F00), (0xFF00, 0xFF60), (0x1F300, 0x1F600), (0x20, 0x30), (0x20, 0x30)]
        ranges = (self.one(blocks) for _ in range(40 + self.below(600)))
        return "".join(chr(low + self.below(high - low)) for low, high in ranges)

    def cut(self) -> str:
        text = self.one([self.prose, self.mixed, self.lines])()
        return text[self.below(len(text)) :][: 1 + self.below(400)]


EXTREMES = [
    "",
    " ",
    "\n",
    "\n\n\n",
    ".",
    "a",
    "a b",
    "\r\n",
    "...",
    "the and of to",
    "x" * 1500,
    "a " * 700,
    "-\n" * 60,
]
EXTREMES += [
    "word " * 49 + "end",
    "the " * 49 + "\n\n" + "of. " * 30,
    "So it is. " * 6 + "y" * 1001 + ".",
    "\u2028\ufeff\x00",
]


def make_documents(number: int = NUM_DOCUMENTS, seed: int = 20) -> list[str]:
    maker = Maker(seed)
    shapes: list[Callable[[], str]] = [maker.prose, maker.mixed, maker.technical, maker.foreign, maker.lines]
    shapes += [maker.sentences_on_lines, maker.with_copies, maker.with_copies, maker.rhythm, maker.untidy]
    shapes += [maker.glued, maker.soup, maker.cut]
    return EXTREMES + [shapes[index % len(shapes)]() for index in range(number - len(EXTREMES))]
