"""Texts in which personal data is labelled by hand, and how well the rule finds it.

`personal_data.txt` has one text per line, in about 30 languages. The lines of its last part have no personal data but
resemble it.
A finding is right if its start, end and kind are those of a label, so a mask that takes a word too much is wrong
twice: as a false finding and as a missed one.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bessemer.clean.pii import KINDS, find_personal_data
from bessemer.clean.texts import Texts

FILE = Path(__file__).with_name("personal_data.txt")
_LABEL = re.compile("«([^»]*)»(" + "|".join(kind.upper() for kind in KINDS) + ")")


class Labelled(NamedTuple):
    """A text, and the (start, end, kind) of each piece of personal data in it."""

    text: str
    spans: list[tuple[int, int, str]]


@dataclass(frozen=True)
class Score:
    """Findings of one kind: right ones, false ones and missed ones."""

    right: int
    false: int
    missed: int

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.false)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


def read_labelled() -> list[Labelled]:
    lines = FILE.read_text("utf-8").splitlines()
    return [parse(line.replace("\\n", "\n")) for line in lines if line and not line.startswith("# ")]


def parse(line: str) -> Labelled:
    """`write to «a@b.example»EMAIL now` as text and spans."""
    text, place = "", 0
    spans: list[tuple[int, int, str]] = []
    for match in _LABEL.finditer(line):
        text += line[place : match.start()]
        spans.append((len(text), len(text) + len(match[1]), match[2].lower()))
        text += match[1]
        place = match.end()
    return Labelled(text + line[place:], spans)


def score(items: list[Labelled]) -> tuple[dict[str, Score], list[str]]:
    """(scores by kind, each mistake in words)."""
    right, false, missed = Counter[str](), Counter[str](), Counter[str]()
    mistakes = []
    for text, expected in items:
        found = {tuple(item) for item in find_personal_data(Texts([text]))}
        for name, spans, counter in (
            ("false", found - set(expected), false),
            ("missed", set(expected) - found, missed),
            ("", found & set(expected), right),
        ):
            for start, end, kind in sorted(spans):
                counter[kind] += 1
                if name:
                    mistakes.append(f"{name} {kind} {text[start:end]!r} in {text!r}")
    return {kind: Score(right[kind], false[kind], missed[kind]) for kind in KINDS}, mistakes
