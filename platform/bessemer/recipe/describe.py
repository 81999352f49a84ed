"""Descriptions of settings: path, type, default, meaning, and whether the setting changes the result.

The descriptions come from the JSON schema of a settings class, so they match the checks of a recipe. Types are named as
in YAML, with the limits of the value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

_LIMITS = (
    ("exclusiveMinimum", "more than"),
    ("minimum", "at least"),
    ("exclusiveMaximum", "less than"),
    ("maximum", "at most"),
)
_TYPES = {"string": "text", "boolean": "true or false", "null": "null"}


@dataclass(frozen=True)
class SettingDescription:
    """One setting of a stage, of the recipe, or of a group of settings."""

    path: str
    """The dotted name in a recipe. A setting of one kind of rule, reward or task has the kind's name in its path."""
    type: str
    default: str | None
    """The default as YAML. None if the setting is required."""
    description: str
    changes_result: bool
    """False for a setting outside the fingerprint: changing it does not run the stage again."""
    alternative: bool = False
    """Whether the setting belongs to one kind of rule, reward or task."""


def describe_settings(model: type[BaseModel], prefix: str = "") -> list[SettingDescription]:
    """Lists the settings of a class in order. Each group is followed by its members."""
    schema = model.model_json_schema()
    return list(_members(schema, schema.get("$defs", {}), prefix, changes_result=True, alternative=False))


def _members(
    schema: dict[str, Any], definitions: dict[str, Any], prefix: str, *, changes_result: bool, alternative: bool
) -> Iterator[SettingDescription]:
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        counts = changes_result and not field.get("execution", False)
        groups = list(_groups(field, definitions, path))
        default = field.get("default")
        if any(not chosen for _, _, chosen in groups) and isinstance(default, dict):
            default = {}  # the members have their own defaults
        yield SettingDescription(
            path,
            _type(field, definitions),
            None if name in required else json.dumps(default, ensure_ascii=False).strip('"'),
            " ".join(_description(field, definitions).split()),
            counts,
            alternative,
        )
        for place, group, chosen in groups:
            if chosen:
                told = " ".join(group.get("description", "").split())
                yield SettingDescription(place.removesuffix("."), "settings", "{}", told, counts, alternative=True)
            yield from _members(
                group, definitions, place, changes_result=counts, alternative=alternative or bool(chosen)
            )


def _groups(field: dict[str, Any], definitions: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yields the settings classes of a field: (path prefix of the members, schema, name of the alternative)."""
    if "$ref" in field:
        yield f"{path}.", definitions[_name(field)], ""
    if mapping := field.get("discriminator", {}).get("mapping"):
        for kind, reference in mapping.items():
            yield f"{path}.{kind}.", _without(definitions[_name({"$ref": reference})], field), kind
        return
    for part in (*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        if not part.get("shorthand"):
            yield from _groups(part, definitions, path)
    if isinstance(field.get("items"), dict):
        yield from _groups(field["items"], definitions, path)
    if isinstance(field.get("additionalProperties"), dict):
        inside = field["additionalProperties"]
        yield from _groups(inside, definitions, path if "discriminator" in inside else f"{path}.NAME")


def _description(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The field's description. Pydantic omits a description that equals the one of the field's class."""
    return str(
        field.get("description") or (definitions[_name(field)].get("description", "") if "$ref" in field else "")
    )


def _without(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    """The schema of an alternative without the field that names it."""
    named = field["discriminator"]["propertyName"]
    properties = {name: value for name, value in schema["properties"].items() if name != named}
    return {**schema, "properties": properties}


def _type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The type in words, with its limits."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return _alternatives([f"`{value}`" for value in field["enum"]])
    if mapping := field.get("discriminator", {}).get("mapping"):
        return _alternatives([f"`{kind}`" for kind in mapping])
    if "$ref" in field:
        target = definitions[_name(field)]
        return "settings" if target.get("type") == "object" else _type(target, definitions)
    if parts := [part for part in field.get("anyOf") or field.get("oneOf") or () if not part.get("shorthand")]:
        return _alternatives(list(dict.fromkeys(_type(part, definitions) for part in parts)))
    if field.get("type") == "array":
        if "prefixItems" in field:
            return "list of " + " and ".join(_type(item, definitions) for item in field["prefixItems"])
        return f"list of {_type(field.get('items', {}), definitions)}"
    if field.get("type") == "object":
        values = field.get("additionalProperties")
        return f"mapping of name to {_type(values, definitions)}" if isinstance(values, dict) else "mapping"
    if "type" not in field:
        return "any value"
    name = _TYPES.get(field["type"], field["type"])
    limits = [f"{words} {field[key]}" for key, words in _LIMITS if key in field]
    return " ".join([field.get("format", name), " and ".join(limits)]).strip()


def _alternatives(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" or {parts[-1]}"


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]
