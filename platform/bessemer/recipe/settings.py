"""Typed, frozen settings. The string below a setting documents it.

A setting that only decides where or how fast a stage runs (worker counts, ports, logging intervals) is declared with
`execution(default)` and is not part of the fingerprint. All other settings are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from bessemer.formatting import parse_bytes
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


def execution(default: Any = ..., **constraints: Any) -> Any:
    """Declares a field that does not change the result and is not part of the fingerprint."""
    given = {} if "default_factory" in constraints else {"default": default}
    return Field(json_schema_extra={"execution": True}, **given, **constraints)


def resolve_path(path: Any, info: ValidationInfo) -> Any:
    """Makes a path absolute, from the recipe's folder or, for a path on the command line, from the working folder.

    Both folders are in the validation context, because another process may check the recipe from another folder.
    """
    if not isinstance(path, str):
        return path
    working = working_folder(info)
    start = working if isinstance(path, FromCommandLine) else (info.context or {}).get("folder", working)
    return str(Path(start, Path(path).expanduser()))


def working_folder(info: ValidationInfo) -> Path:
    """The folder in which the user ran the command."""
    return (info.context or {}).get("working_folder") or Path.cwd()


PATH_SCHEMA = WithJsonSchema({"type": "string", "format": "path"})
RecipeFile = Annotated[str, BeforeValidator(resolve_path), PATH_SCHEMA]
"""A file. Its path is relative to the recipe's folder, or to the working folder if it is on the command line."""


Size = Annotated[
    int,
    BeforeValidator(parse_bytes),
    Field(gt=0),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "string", "format": "size such as `8MiB`"}]}
    ),
]
"""A number of bytes, or text like `8MiB`."""


@dataclass(frozen=True)
class Shorthand:
    """Adds a short form to the JSON schema of a field whose validator accepts more than the field's classes."""

    form: Callable[[JsonSchemaValue], JsonSchemaValue]
    """Makes the schema of the short form from the schema of the field."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        return {"anyOf": [{**self.form(schema), "shorthand": True}, schema]}


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
