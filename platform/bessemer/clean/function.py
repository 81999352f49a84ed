"""`function`: a rule of your own, as a plain Python function in a file.

    # rules.py
    def share_of_digits(text: str) -> float:
        return sum(map(str.isdigit, text)) / max(len(text), 1)

    # recipe.yaml
    rules: [normalise, {function: {file: rules.py, name: share_of_digits, max: 0.2}}]

It must depend on the text alone. The file's content is part of the stage's fingerprint, its place is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from bessemer.clean.rules import Broken, Findings, Rule
from bessemer.clean.spans import Array
from bessemer.clean.texts import Texts
from bessemer.recipe.functions import load_function
from bessemer.recipe.settings import RecipeFile, execution


class Function(Rule):
    """Measures texts by a function of your own: `(text) -> number`, or `(text) -> bool`, where false removes."""

    rule: Literal["function"] = "function"
    file: RecipeFile = execution(...)
    """The Python file, relative to the recipe."""
    name: str
    """The function's name in the file."""
    min: float | None = None
    """Smallest value of a text that stays."""
    max: float | None = None
    """Largest value of a text that stays; without `min` and `max`, 0 and false remove."""

    @property
    def label(self) -> str:
        return "function"

    def apply(self, texts: Texts) -> Findings:
        function = load_function(self.file, self.name)
        values = np.fromiter((float(function(text)) for text in texts.strings), np.float64, len(texts))
        return Findings({self.name: values})

    def broken(self, signals: Mapping[str, Array]) -> list[Broken]:
        values = signals[self.name]
        if self.min is None and self.max is None:
            return [Broken(self.name, 1, values == 0)]
        lowest = [] if self.min is None else [Broken(self.name, self.min, values < self.min)]
        highest = [] if self.max is None else [Broken(self.name, self.max, values > self.max)]
        return lowest + highest
