"""The rules of a recipe: a preset for a kind of text, a preset with changes, or a list.

    clean: {preset: markdown}

    clean:
      preset: web
      override:
        language: {languages: [en, de]}
        gopher_quality: {min_words: 20}
        c4: null                       # leaves the rule out

    clean:
      rules:
        - normalise
        - language: {languages: [en, de]}
        - gopher_quality
        - function: {file: rules.py, name: my_rule}

In a list, a name alone means the rule with its defaults. Rules run in order, each on the text that the previous rule
returned. A document is removed by the first rule that finds a broken limit. The other rules still measure it, so that
the ledger shows the effect of other thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from bessemer.clean.c4 import C4
from bessemer.clean.code_quality import CodeQuality
from bessemer.clean.fineweb import FineWebQuality
from bessemer.clean.function import CustomRule
from bessemer.clean.language import LANGUAGES, Language
from bessemer.clean.normalise import Normalise
from bessemer.clean.pii import Pii
from bessemer.clean.presets import PRESETS, Preset
from bessemer.clean.quality import GopherQuality
from bessemer.clean.repetition import GopherRepetition
from bessemer.clean.rules import Rule
from bessemer.recipe.problems import nearest
from bessemer.recipe.settings import Settings, Shorthand
from bessemer.recipe.validation import message_of

RULES: dict[str, type[Rule]] = {
    rule.model_fields["rule"].default: rule
    for rule in (Normalise, Language, GopherRepetition, GopherQuality, C4, FineWebQuality, CodeQuality, Pii, CustomRule)
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
    _check_fields(rule, value["rule"], value)
    return value


def _check_fields(rule: type[Rule], name: str, fields: Mapping[str, Any]) -> None:
    for field in fields:
        if field not in rule.model_fields:
            raise ValueError(f"`{field}` is not a setting of `{name}` ({nearest(field, rule.model_fields)})")


def _short_form(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of `c4` and of `{c4: {...}}`."""
    rules = schema["discriminator"]["mapping"].items()
    settings = {name: {"anyOf": [{"type": "null"}, {"$ref": reference}]} for name, reference in rules}
    single = {"type": "object", "properties": settings, "additionalProperties": False, "maxProperties": 1}
    return {"anyOf": [{"enum": list(settings)}, single]}


AnyRule = Annotated[
    Normalise | Language | GopherRepetition | GopherQuality | C4 | FineWebQuality | CodeQuality | Pii | CustomRule,
    Field(discriminator="rule"),
    BeforeValidator(_tagged),
    Shorthand(_short_form),
]


class CleanSettings(Settings):
    """The rules that are applied to every document, in order."""

    preset: Preset | None = None
    """The kind of text: `web` pages, `markdown` and other technical documents with markup, program `code`, or `books`;
    `web` if neither this nor `rules` is set."""
    override: Mapping[str, dict[str, Any] | None] = Field({})
    """Settings that differ from the preset's, by the name of the rule; `null` leaves the rule out."""
    rules: tuple[AnyRule, ...] | None = None
    """The list of rules, in order, instead of a preset."""
    max_characters: int = Field(5_000_000, ge=1)
    """Maximum length of a document, in characters. Longer documents are removed without being read by the rules. Memory
    grows by up to 200 bytes per character of a document."""

    @field_validator("override")
    @classmethod
    def _of_the_preset(
        cls, override: Mapping[str, dict[str, Any] | None], info: ValidationInfo
    ) -> Mapping[str, dict[str, Any] | None]:
        if "preset" in info.data:
            _overridden(info.data["preset"], override)
        return override

    @field_validator("rules", mode="before")
    @classmethod
    def _is_list(cls, rules: Any) -> Any:
        if isinstance(rules, dict):
            raise ValueError("should be a list of rules; `override` changes settings of a preset's rules")
        return rules

    @field_validator("rules")
    @classmethod
    def _each_once(cls, rules: tuple[Rule, ...] | None, info: ValidationInfo) -> tuple[Rule, ...] | None:
        if rules is not None and (info.data.get("preset") or info.data.get("override")):
            raise ValueError("should not be set together with `preset` or `override`, which it replaces")
        seen: set[str] = set()
        for rule in rules or ():
            name = rule.name if isinstance(rule, CustomRule) else rule.label
            if name in seen:
                raise ValueError(f"should have each rule once, but `{name}` is there twice")
            seen.add(name)
        return rules

    @property
    def chosen_rules(self) -> tuple[Rule, ...]:
        """The active rules, in order."""
        return self.rules if self.rules is not None else _overridden(self.preset, self.override)

    @property
    def wanted_languages(self) -> frozenset[str] | None:
        """The languages that the rule `language` keeps; None if it keeps all or is absent."""
        chosen = [rule.languages for rule in self.chosen_rules if isinstance(rule, Language)]
        return frozenset(chosen[0]) if chosen and chosen[0] is not None else None

    def abstaining(self, language: str) -> list[str]:
        """The labels of the rules that skip at least one limit in texts of a language."""
        return [rule.label for rule in self.chosen_rules if rule.abstentions({language})]

    def abstentions(self) -> list[str]:
        """Warnings for the plan about rules that do not apply to some of the wanted languages."""
        wanted = self.wanted_languages
        said = {rule.label: rule.abstentions(wanted or LANGUAGES) for rule in self.chosen_rules}
        if wanted is not None:
            return [sentence for sentences in said.values() for sentence in sentences]
        partial = ", ".join(f"`{label}`" for label, sentences in said.items() if sentences)
        if not partial:
            return []
        return [
            f"documents in any language stay, but {partial} work on some languages only; "
            "set `language: {languages: [...]}` to see which"
        ]


def _overridden(preset: Preset | None, override: Mapping[str, dict[str, Any] | None]) -> tuple[Rule, ...]:
    """The preset's rules with other settings. Raises ValueError for an unknown rule or setting."""
    rules = PRESETS[preset or "web"]
    names = [rule.label for rule in rules]
    for name in override:
        if name not in names:
            raise ValueError(f"should name rules of the preset, not `{name}` ({nearest(name, names)})")
    return tuple(_changed(rule, override.get(rule.label)) for rule in rules if override.get(rule.label, {}) is not None)


def _changed(rule: Rule, changes: dict[str, Any] | None) -> Rule:
    if not changes:
        return rule
    _check_fields(type(rule), rule.label, changes)
    try:
        return type(rule).model_validate(rule.model_dump() | changes)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"][:1]))
        raise ValueError(f"should be valid settings: `{place}` of `{rule.label}` {message_of(first)}") from None
