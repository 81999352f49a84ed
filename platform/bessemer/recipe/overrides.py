"""Values that replace values of a recipe before it is checked: `field=value` on the command line, a sweep's trial.

`clean.rules.c4.min_sentences=3` sets a field of the entry `c4` in the list `rules` of the stage `clean`. A first name
that is not a stage is a field of the recipe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.recipe import yaml
from bessemer.recipe.problems import Problem


class FromCommandLine(str):
    """A string from the command line: a relative path in it is relative to the working folder."""

    __slots__ = ()


@dataclass(frozen=True)
class Origin:
    """Where a changed value comes from: `command line` or a file, and the text that sets it."""

    file: str
    text: str


def apply(
    raw: Any,
    assignments: Sequence[str],
    stage_names: Sequence[str],
    *,
    changes: Mapping[str, Any] | None = None,
    changes_from: str = "",
) -> tuple[dict[yaml.Path, Origin], list[Problem]]:
    """Changes `raw` in place by `field=value` assignments, then by `changes` (values by dotted name).

    If a field is changed twice, the last change counts. Returns the origin of each changed path, the last change first,
    and a problem for each change that could not be made.
    """
    origins: dict[yaml.Path, Origin] = {}
    problems: list[Problem] = []
    wanted: list[tuple[str, Any, Origin]] = []
    for text in assignments:
        name, equals, value = text.partition("=")
        if equals and name:
            wanted.append((name, _marked(yaml.parse_value(value)), Origin("command line", text)))
        else:
            problems.append(Problem(f"`{text}` is not of the form `field=value`", file="command line"))
    for name, value in (changes or {}).items():
        wanted.append((name, value, Origin(changes_from, assignment(name, value))))
    for name, value, origin in wanted:
        path = _path(name, stage_names)
        problem = _set(raw, path, value)
        if problem:
            problems.append(Problem(problem, file=origin.file, excerpt=origin.text))
        else:
            origins = {tuple(path): origin, **{place: one for place, one in origins.items() if place != tuple(path)}}
    return origins, problems


def assignment(name: str, value: Any) -> str:
    """Returns `name=value` for the command line. `apply` parses it to exactly the same value."""
    if isinstance(value, float) and not math.isfinite(value):
        text = ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    read = yaml.parse_value(text)
    if isinstance(value, str) and not (isinstance(read, str) and read == value):
        text = json.dumps(value, ensure_ascii=False)
    return f"{name}={text}"


def absolute(assignments: Sequence[str], resolved: Mapping[str, Any]) -> list[str]:
    """The assignments with each relative path replaced by the absolute path in the checked recipe `resolved`."""
    found = []
    for text in assignments:
        name, _, value = text.partition("=")
        given = yaml.parse_value(value)
        settled = with_paths(given, value_at(resolved, name))
        found.append(text if settled == given else assignment(name, settled))
    return found


def value_at(resolved: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name in a resolved recipe, or None."""
    place: Any = resolved
    for key in _path(name, list(resolved["stages"])):
        if isinstance(place, list):
            index = _index(place, key)
            place = None if index is None else place[index]
        else:
            place = place.get(key) if isinstance(place, Mapping) else None
    return place


def with_paths(given: Any, settled: Any) -> Any:
    """`given` with each relative path replaced by its absolute path in `settled`, the checked value."""
    if isinstance(given, str):
        changed = isinstance(settled, str) and settled != given and Path(settled).is_absolute()
        return settled if changed else given
    if isinstance(given, Mapping) and isinstance(settled, Mapping):
        return {key: with_paths(item, settled.get(key)) for key, item in given.items()}
    if isinstance(given, list) and isinstance(settled, list) and len(given) == len(settled):
        return [with_paths(item, other) for item, other in zip(given, settled, strict=True)]
    return given


def _path(name: str, stage_names: Sequence[str]) -> list[str | int]:
    path: list[str | int] = [
        int(part) if part.isascii() and part.isdigit() and len(part) < 10 else part for part in name.split(".")
    ]
    return ["stages", *path] if path[0] in stage_names else path


def _set(raw: Any, path: Sequence[str | int], value: Any) -> str | None:
    place = raw
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(place, list):
            index = _index(place, key)
            if index is None:
                return f"`{'.'.join(map(str, path[: depth + 1]))}` is not an entry of its list, which has {len(place)}"
            if last:
                place[index] = value
            elif isinstance(place[index], dict) and place[index].get("rule") == key:
                place = place[index]
            elif isinstance(key, str):  # `rules.c4.min_sentences`: the entry is `c4` or `{c4: {...}}`
                if not isinstance(place[index], dict):
                    place[index] = {key: {}}
                place[index][key] = place[index][key] or {}
                place = place[index][key]
            else:
                place = place[index]
        elif isinstance(place, dict):
            if last:
                place[key] = value
            elif place.get(key) is None:
                place[key] = {}
            place = place[key]
        else:
            return f"`{'.'.join(map(str, path[:depth]))}` is a value, so `{key}` cannot be set in it"
    return None


def _index(entries: list[Any], key: str | int) -> int | None:
    """The index of `key` in a list. `key` is an index, or the name of an entry (`c4`, `{c4: {...}}`, `{rule: c4}`)."""
    if isinstance(key, int):
        return key if key < len(entries) else None
    named = (
        i
        for i, entry in enumerate(entries)
        if entry == key or (isinstance(entry, dict) and (list(entry) == [key] or entry.get("rule") == key))
    )
    return next(named, None)


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return FromCommandLine(value)
    if isinstance(value, Mapping):
        return {key: _marked(item) for key, item in value.items()}
    return [_marked(item) for item in value] if isinstance(value, list) else value
