"""`field=value` on the command line: sets one value in the recipe before it is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bessemer.recipe import yaml
from bessemer.recipe.problems import Problem


class FromCommandLine(str):
    """A string from the command line: a relative path in it is relative to the working folder."""

    __slots__ = ()


def apply(
    raw: Any, assignments: Sequence[str], stage_names: Sequence[str]
) -> tuple[dict[yaml.Path, str], list[Problem]]:
    """Changes `raw` in place. Returns the assignment behind each changed path, and what could not be applied.

    `clean.rules.c4.min_sentences=3` reaches into the stage `clean` and there into the entry `c4` of a list; a first
    name that is no stage is a field of the recipe.
    """
    origins: dict[yaml.Path, str] = {}
    problems: list[Problem] = []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            problems.append(Problem(f"`{assignment}` is not of the form `field=value`", file="command line"))
            continue
        path: list[str | int] = [int(part) if part.isdigit() else part for part in name.split(".")]
        if path[0] in stage_names:
            path.insert(0, "stages")
        problem = _set(raw, path, _marked(yaml.parse_value(text)))
        if problem:
            problems.append(Problem(problem, file="command line", excerpt=assignment))
        else:
            origins[tuple(path)] = assignment
    return origins, problems


def _set(raw: Any, path: Sequence[str | int], value: Any) -> str | None:
    place = raw
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(place, list):
            index = _index(place, key)
            if index is None:
                return f"`{'.'.join(map(str, path[: depth + 1]))}` is not an entry of a list of {len(place)}"
            if last:
                place[index] = value
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
    """Where `key` stands in a list: its number, or the entry of that name (`c4`, `{c4: {...}}`)."""
    if isinstance(key, int):
        return key if key < len(entries) else None
    named = (i for i, entry in enumerate(entries) if entry == key or (isinstance(entry, dict) and list(entry) == [key]))
    return next(named, None)


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return FromCommandLine(value)
    if isinstance(value, Mapping):
        return {key: _marked(item) for key, item in value.items()}
    return [_marked(item) for item in value] if isinstance(value, list) else value
