"""The list of rules, as a recipe writes it.

    rules:
      - normalise
      - language: {languages: [en, de]}
      - gopher_quality
      - c4: {terminal_punctuation: false}

A name alone means the rule with its defaults. Rules work in the order of the list, each on what the ones before it
left; a document is removed by the first whose limit it breaks, and the others still measure it, so that the ledger
tells what other thresholds would have done.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from bessemer.clean.c4 import C4
from bessemer.clean.fineweb import FineWebQuality
from bessemer.clean.function import Function
from bessemer.clean.language import Language
from bessemer.clean.normalise import Normalise
from bessemer.clean.pii import Pii
from bessemer.clean.quality import GopherQuality
from bessemer.clean.repetition import GopherRepetition
from bessemer.clean.rules import Rule
from bessemer.recipe.problems import nearest
from bessemer.recipe.settings import Settings

RULES: dict[str, type[Rule]] = {
    rule.model_fields["rule"].default: rule
    for rule in (Normalise, Language, GopherRepetition, GopherQuality, C4, FineWebQuality, Pii, Function)
}


def _tagged(value: Any) -> Any:
    """`c4`, `{c4: {...}}` and `{rule: c4, ...}` are the same rule."""
    if isinstance(value, Rule):
        return value
    if isinstance(value, str):
        value = {value: {}}
    if isinstance(value, dict) and len(value) == 1 and "rule" not in value:
        ((name, fields),) = value.items()
        if fields is None or isinstance(fields, dict):
            value = {"rule": name, **(fields or {})}
    if not (isinstance(value, dict) and isinstance(value.get("rule"), str)):
        raise ValueError("should be the name of a rule, or the name and its settings: `{c4: {min_sentences: 3}}`")
    rule = RULES.get(value["rule"])
    if rule is None:
        raise ValueError(f"should be the name of a rule ({nearest(value['rule'], RULES)})")
    for field in value:
        if field not in rule.model_fields:
            raise ValueError(f"`{field}` is no setting of `{value['rule']}` ({nearest(field, rule.model_fields)})")
    return value


AnyRule = Annotated[
    Normalise | Language | GopherRepetition | GopherQuality | C4 | FineWebQuality | Pii | Function,
    Field(discriminator="rule"),
    BeforeValidator(_tagged),
]

FINEWEB = (
    Normalise(),
    Language(),
    GopherRepetition(),
    GopherQuality(),
    C4(terminal_punctuation=False),
    FineWebQuality(),
    Pii(),
)
"""The order and the settings of FineWeb (Penedo et al., 2024), after normalisation."""


class CleanSettings(Settings):
    """What happens to the documents, in order."""

    rules: tuple[AnyRule, ...] = FINEWEB
    """The rules in their order; FineWeb's if unset."""
    max_characters: int = Field(5_000_000, ge=1)
    """A longer document is removed unseen; memory grows by up to 200 bytes for each of its characters."""

    @field_validator("rules")
    @classmethod
    def _each_once(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        seen: set[str] = set()
        for rule in rules:
            name = rule.name if isinstance(rule, Function) else rule.label
            if name in seen:
                raise ValueError(f"should have each rule once, but `{name}` stands there twice")
            seen.add(name)
        return rules
