"""The base of all rules.

A rule measures the texts of a batch, and may change them. Each measurement is a named signal. A field `min_<signal>` or
`max_<signal>` of the rule's settings is its limit, and `null` turns the limit off. So every threshold is a setting, and
every signal is in the ledger as `<rule>/<signal>`. Other thresholds can be tried on the ledger alone. If a document
breaks several limits, the first one in the order of the signals decides.

A limit that depends on the language is `auto` by default: English texts have FineWeb's value, texts in the languages of
`fineweb2.tsv` have FineWeb-2's, and texts in any other language have no limit. A number holds for all languages.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from bessemer.clean.languages import ENGLISH, base, facts, is_listed, spoken
from bessemer.clean.spans import Array
from bessemer.clean.texts import Texts
from bessemer.recipe.settings import Settings

AUTO: Literal["auto"] = "auto"
Limit = float | Literal["auto"] | None
"""A limit: a number for all languages, `auto` for each language's own, or `null` for none."""

UNLIMITED = float("nan")
"""A threshold that no value breaks, because every comparison with it is false."""


class Automatic(NamedTuple):
    """The values of a limit that is `auto`."""

    english: float
    elsewhere: str | float
    """The column of `fineweb2.tsv`, or one number for all its languages."""


@dataclass(frozen=True)
class Findings:
    """The result of one rule for a batch. The keys of `evidence` and `languages` are indices of texts."""

    signals: Mapping[str, Array] = field(default_factory=dict)
    """One float64 per text; NaN if the rule abstained."""
    texts: Texts | None = None
    """The texts after the rule; None if it changes none."""
    evidence: Mapping[int, str] = field(default_factory=dict)
    languages: Mapping[int, str] = field(default_factory=dict)


class Broken(NamedTuple):
    """One limit, and a mask of the texts that break it."""

    signal: str
    thresholds: Array
    """float64: the limit of each text."""
    texts: Array


class Rule(Settings):
    """Base of all rules. The name by which a recipe calls a rule is the default of its field `rule`."""

    automatic: ClassVar[Mapping[str, Automatic]] = {}
    """The fields that may be `auto`."""
    reads_language: ClassVar[bool] = False
    """Whether the result depends on the language of the text."""
    skips_removed: ClassVar[bool] = False
    """Whether the rule skips texts that an earlier rule removed. By default a rule measures them too."""

    source: ClassVar[str] = ""
    """The origin of the rule and of its limits, for the reference."""

    rule: Any

    @property
    def reads_fields(self) -> Collection[str]:
        """Columns of the documents that the rule reads, other than text and language."""
        return ()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def label(self) -> str:
        """The rule's name in the ledger, before the slash."""
        return str(self.rule)

    def apply(self, texts: Texts) -> Findings:
        """Measures every text independently of the other texts in the batch."""
        raise NotImplementedError

    def broken(self, signals: Mapping[str, Array], languages: Sequence[str | None]) -> list[Broken]:
        """The limits in the order in which they decide."""
        found = []
        for name, values in signals.items():
            for bound, breaks in ((f"min_{name}", np.less), (f"max_{name}", np.greater)):
                if getattr(self, bound, None) is not None:
                    thresholds = self.thresholds(bound, languages)
                    found.append(Broken(name, thresholds, breaks(values, thresholds)))
        return found

    def thresholds(self, bound: str, languages: Sequence[str | None]) -> Array:
        """float64: the limit `bound` for texts in these languages."""
        value = getattr(self, bound)
        if value != AUTO:
            return np.full(len(languages), value, np.float64)
        automatic = self.automatic[bound]
        return np.array([_automatic(automatic, language) for language in languages], np.float64)

    def abstentions(self, languages: Collection[str]) -> list[str]:
        """Sentences for the plan about limits that do not apply to some of the wanted languages."""
        unlisted = [language for language in languages if not is_listed(language)]
        open_limits = [bound for bound in self.automatic if getattr(self, bound) == AUTO]
        if not unlisted or not open_limits:
            return []
        limits = ", ".join(f"`{bound}`" for bound in open_limits)
        return [f"`{self.label}` has no limits for {spoken(unlisted)} and skips {limits} there"]


@cache
def _automatic(automatic: Automatic, language: str | None) -> float:
    if language is None or base(language) == ENGLISH:
        return automatic.english
    known = facts(language)
    if known is None:
        return UNLIMITED
    return known.limits[automatic.elsewhere] if isinstance(automatic.elsewhere, str) else automatic.elsewhere
