"""Typed, frozen settings. What a setting means is written under it; whether it changes the result is marked on it.

A setting that only says where or how fast (worker counts, ports, logging intervals) is declared with
`execution(default)` and stays outside the fingerprint. Everything else is part of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from bessemer.recipe.overrides import FromCommandLine


class Settings(BaseModel):
    """Base of every settings class: frozen, unknown fields forbidden, fields documented by the string below them."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


def execution(default: Any, **constraints: Any) -> Any:
    """A field that does not change the result, and so is no part of the fingerprint."""
    return Field(default, json_schema_extra={"execution": True}, **constraints)


def _beside_recipe(file: Any, info: ValidationInfo) -> Any:
    beside = Path.cwd() if isinstance(file, FromCommandLine) else (info.context or {}).get("folder", Path.cwd())
    return str(Path(beside, Path(file).expanduser())) if isinstance(file, str) else file


RecipeFile = Annotated[str, BeforeValidator(_beside_recipe)]
"""A file, relative to the recipe in a recipe and to the working folder on the command line."""


def result_settings(settings: BaseModel) -> dict[str, Any]:
    """The settings that decide the result, as JSON values, nested settings included."""
    return {
        name: _json(getattr(settings, name))
        for name, field in type(settings).model_fields.items()
        if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("execution"))
    }


def _json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return result_settings(value)
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value
