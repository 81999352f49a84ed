"""Pydantic's validation errors in a recipe's terms: one error per place, without pydantic's own vocabulary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

from bessemer.recipe import yaml

_UNION_MEMBER = re.compile(r"(int|float|str|bool|constrained-.*|(literal|tuple|list|dict|function-).*\[.*)")
"""Matches pydantic's names for the alternatives of a field in a location."""
_NAMES = {
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "set_type": "should be a list",
    "frozen_set_type": "should be a list",
    "dict_type": "should be a mapping",
    "mapping_type": "should be a mapping",
    "model_type": "should be a mapping",
    "path_type": "should be a path",
}
"""Messages for the error types whose own message names a Python type."""
_NOISE = re.compile(
    r"^(Value error, |Input |(Tuple|List|Dictionary|String) (?=should))|, unable to .*| after validation.*"
)


def merged(errors: Sequence[Any], raw: Any) -> list[dict[str, Any]]:
    """Returns one error per place of the recipe. Errors of a field's alternatives are merged, and errors that follow
    from other errors are dropped."""
    found: dict[yaml.Path, dict[str, Any]] = {}
    for error in errors:
        place = _place(error["loc"], raw)
        message = message_of(error)
        if place in found:
            message = f"{found[place]['msg']} or {message.removeprefix('should be ')}"
        found[place] = {**error, "loc": place, "msg": message}
    return [
        error
        for place, error in found.items()
        if not any(other[: len(place)] == place and len(other) > len(place) for other in found)
    ]


def message_of(error: Any) -> str:
    """The message of one of pydantic's errors, in YAML's terms: "should be a list"."""
    return _NAMES.get(error["type"]) or _NOISE.sub("", error["msg"])


def _place(location: Sequence[int | str], raw: Any) -> yaml.Path:
    """A location without pydantic's additions: the tried alternative of a field, and the kind of an object."""
    place: list[int | str] = []
    for part in location:
        if isinstance(raw, dict) and part not in raw and raw.get("kind") == part:
            continue
        if isinstance(part, str) and _UNION_MEMBER.fullmatch(part) and not (isinstance(raw, dict) and part in raw):
            continue
        place.append(part)
        inside = isinstance(raw, dict) or (isinstance(raw, list) and isinstance(part, int) and part < len(raw))
        raw = raw.get(part) if isinstance(raw, dict) else raw[part] if inside else None
    return tuple(place)


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def model_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel] | None:
    """The settings class that holds the field at `location`, as far as annotations show."""
    current: Any = model
    for part in location:
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return None
        field = current.model_fields.get(str(part))
        if field is None:
            continue
        models = [
            m
            for m in (field.annotation, *get_args(field.annotation))
            if isinstance(m, type) and issubclass(m, BaseModel)
        ]
        current = models[0] if models else None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None
