"""What a rule is.

A rule measures, and may change, the texts of a batch. Each measurement is a signal with a name; a field `min_<signal>`
or `max_<signal>` of the rule's settings is its limit, and `null` turns the limit off. So every threshold is a setting,
every signal is in the ledger as `<rule>/<signal>`, and other thresholds can be tried on the ledger alone. The first
limit that a document breaks, in the order of the signals, decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bessemer.clean.spans import Array
from bessemer.clean.texts import Texts
from bessemer.recipe.settings import Settings


@dataclass(frozen=True)
class Findings:
    """What one rule found in a batch; `evidence` and `languages` are by the index of the text."""

    signals: Mapping[str, Array] = field(default_factory=dict)
    texts: Texts | None = None
    """The texts as the rule leaves them; None if it changes none."""
    evidence: Mapping[int, str] = field(default_factory=dict)
    languages: Mapping[int, str] = field(default_factory=dict)


class Broken(NamedTuple):
    """One limit, and which texts break it."""

    signal: str
    threshold: float
    texts: Array


class Rule(Settings):
    """Base of all rules. The name by which a recipe calls a rule is the default of its field `rule`."""

    rule: Any

    @property
    def label(self) -> str:
        """What stands before the slash in the ledger."""
        return str(self.rule)

    def apply(self, texts: Texts) -> Findings:
        """Measures every text, on its own: what stands beside it in the batch makes no difference."""
        raise NotImplementedError

    def broken(self, signals: Mapping[str, Array]) -> list[Broken]:
        """The limits in the order in which they decide."""
        found = []
        for name, values in signals.items():
            lowest, highest = getattr(self, f"min_{name}", None), getattr(self, f"max_{name}", None)
            if lowest is not None:
                found.append(Broken(name, lowest, values < lowest))
            if highest is not None:
                found.append(Broken(name, highest, values > highest))
        return found
