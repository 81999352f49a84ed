"""YAML 1.2 with line numbers.

PyYAML parses the text. This module resolves the values by the YAML 1.2 core schema, because YAML 1.1 reads `1e-3` as a
word and `no` as a boolean. The line of every value is kept for error messages. Duplicate keys are problems.

The size of the text, the depth and the number of values have limits. An alias counts as a copy of its value, because a
recipe of a few lines can otherwise describe billions of values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

from bessemer.recipe.problems import Problem

Path = tuple[str | int, ...]

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NAN = re.compile(r"\.(nan|NaN|NAN)")

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 50
MAX_VALUES = 20_000
_MAX_DIGITS = 1000
_EXCERPT = 200

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Source:
    """The text of a recipe, with the line (from 1) of each value."""

    name: str
    text: str
    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    num_values: int = 0

    def line_of(self, path: Path) -> int | None:
        """The line of the value at `path`, or of the nearest value around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None

    @cached_property
    def _rows(self) -> list[str]:
        return self.text.splitlines()

    def excerpt(self, line: int | None) -> str:
        row = self._rows[line - 1].rstrip() if line and line <= len(self._rows) else ""
        return row if len(row) <= _EXCERPT else f"{row[:_EXCERPT]}..."


def parse(text: str, name: str = "recipe") -> Source:
    """Reads YAML text. Syntax errors and duplicate keys are in `.problems` of the result."""
    source = Source(name, text)
    try:
        if problem := _beyond_limits(text, name):
            source.problems.append(problem)
            return source
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark else None
        source.problems.append(
            Problem(
                what,
                file=name,
                line=line,
                excerpt=source.excerpt(line),
                hint="check the indentation and quotes",
            )
        )
        return source
    if node is not None:
        try:
            source.value = _construct(node, (), source, ())
        except _TooMany:
            source.problems.append(Problem(f"it holds more than {MAX_VALUES} values", file=name))
    return source


class _TooMany(Exception):
    """Ends the construction of the values."""


def _beyond_limits(text: str, name: str) -> Problem | None:
    """The limit that the text exceeds, found without recursion. Raises yaml.YAMLError for a syntax error before it."""
    if len(text) > MAX_CHARACTERS:
        return Problem(f"it has {len(text)} characters, more than {MAX_CHARACTERS}", file=name)
    depth = count = 0
    for event in yaml.parse(text, Loader=_Loader):
        count += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        line = event.start_mark.line + 1 if event.start_mark else None
        if depth > MAX_DEPTH:
            return Problem(f"its values are nested more than {MAX_DEPTH} levels deep", file=name, line=line)
        if count > MAX_VALUES:
            return Problem(f"it holds more than {MAX_VALUES} values", file=name, line=line)
    return None


def parse_value(text: str) -> Any:
    """Parses one value of a command line: `3`, `1e-3`, `[a, b]`, `{x: 1}`. Returns text that is not YAML unchanged."""
    source = parse(text, "value")
    return text if source.problems else source.value


def _construct(node: yaml.Node, path: Path, source: Source, above: tuple[int, ...]) -> Any:
    line = node.start_mark.line + 1
    source.lines[path] = line
    source.num_values += 1
    if source.num_values > MAX_VALUES:
        raise _TooMany
    if id(node) in above:
        source.problems.append(Problem("a value that contains itself", file=source.name, line=line))
        return None
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _construct(key_node, (*path, "?"), source, above)
            key = key if isinstance(key, str | int) else str(key)
            key_line = key_node.start_mark.line + 1
            if key in mapping:
                source.problems.append(
                    Problem(
                        f"`{key}` is set twice",
                        file=source.name,
                        line=key_line,
                        excerpt=source.excerpt(key_line),
                        hint=f"it was first set on line {source.lines[(*path, key)]}; keep one of the two",
                    )
                )
                continue
            mapping[key] = _construct(value_node, (*path, key), source, above)
            source.lines[(*path, key)] = key_line
        source.lines.pop((*path, "?"), None)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, index), source, above) for index, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return node.value if node.style in ("'", '"', "|", ">") else _scalar(node.value)


def _scalar(text: str) -> Any:
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            return text  # no setting is so large, and Python converts and prints at most 4300 digits
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INFINITE.fullmatch(text):
        return float(f"{match[1]}inf")
    return float("nan") if _NAN.fullmatch(text) else text


def dump(value: Any) -> str:
    """YAML text that `parse` reads back as the same value."""

    class Dumper(yaml.SafeDumper):
        """Quotes every string that YAML 1.2 would read as something else."""

    def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else ("'" if _scalar(text) != text else None)
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent)
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
