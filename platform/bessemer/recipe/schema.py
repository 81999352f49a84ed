"""The JSON schema of recipes, for editors and for other programs, made from the settings classes.

Pydantic makes the schema of each class, and this module joins them. A stage is named after its kind, or names its kind
as `stage:`. The schema describes single values. Only `bessemer plan` checks rules that combine several values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

DRAFT = "https://json-schema.org/draft/2020-12/schema"
STAGE_NAME = "^[a-z][a-z0-9_]*$"
_FROM = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    "description": "Stages above that supply the inputs; the nearest ones if unset.",
}


def recipe_schema(recipe: type[BaseModel], stages: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """The schema of a whole recipe. `stages` are the classes of the settings by kind of stage."""
    references, shared = models_json_schema([(model, "validation") for model in (recipe, *stages.values())])
    definitions: dict[str, Any] = shared["$defs"]
    kinds = {}
    for kind, model in stages.items():
        own = definitions[_name(references[model, "validation"])]
        own["properties"] = {"stage": {"const": kind}, "from": _FROM} | own["properties"]
        settings = {"$ref": f"#/$defs/{_name(references[model, 'validation'])}"}
        kinds[kind] = settings if own.get("required") else {"anyOf": [{"type": "null"}, settings]}
    choices = [
        {"if": {"properties": {"stage": {"const": kind}}, "required": ["stage"]}, "then": kinds[kind]} for kind in kinds
    ]
    definitions["stage"] = {
        "type": "object",
        "properties": {"stage": {"enum": list(kinds), "description": "The kind of stage."}},
        "required": ["stage"],
        "allOf": choices,
    }
    other = {"$ref": "#/$defs/stage"}
    top = definitions.pop(_name(references[recipe, "validation"]))
    return {
        "$schema": DRAFT,
        "title": "A recipe of Bessemer",
        "type": "object",
        "additionalProperties": False,
        "required": [*top.get("required", []), "stages"],
        "properties": {
            **top["properties"],
            "stages": {
                "description": "Stages by name, in the order in which they run.",
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": STAGE_NAME},
                "properties": {
                    kind: {"if": {"type": "object", "required": ["stage"]}, "then": other, "else": schema}
                    for kind, schema in kinds.items()
                },
                "additionalProperties": other,
            },
        },
        "$defs": definitions,
    }


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]
