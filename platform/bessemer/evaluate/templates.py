"""Prompts and answers out of an item's row, in Jinja, as lm-evaluation-harness writes them.

A template gives text, an expression any value. Both run in Jinja's sandbox, because a task's file may come from
somebody else, and an unknown name is an error instead of nothing. Beside Jinja's own filters there is
`regex_replace(pattern, replacement)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined
from jinja2.sandbox import SandboxedEnvironment

Row = Mapping[str, Any]


def _regex_replace(text: str, pattern: str, replacement: str = "") -> str:
    return re.sub(pattern, replacement, text)


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["regex_replace"] = _regex_replace
    return environment


_ENVIRONMENT = _environment()


@lru_cache(maxsize=1024)
def template(source: str) -> Callable[[Row], str]:
    """The text of a row. Raises what Jinja and Python raise where the row does not fit."""
    compiled = _ENVIRONMENT.from_string(source)
    return lambda row: compiled.render(row, row=row)


@lru_cache(maxsize=1024)
def expression(source: str) -> Callable[[Row], Any]:
    """The value of an expression for a row. Raises what Jinja and Python raise where the row does not fit."""
    compiled = _ENVIRONMENT.compile_expression(source, undefined_to_none=False)

    def evaluate(row: Row) -> Any:
        value = compiled(row, row=row)
        if isinstance(value, Undefined):
            str(value)  # raises: an unknown name that nothing was done with is no error by itself
        return value

    return evaluate


def check_template(source: str) -> str:
    """For settings: the source itself. Raises ValueError where it is no template."""
    try:
        _ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"no Jinja template: {error}") from None
    return source


def check_expression(source: str) -> str:
    """For settings: the source itself. Raises ValueError where it is no expression."""
    try:
        _ENVIRONMENT.compile_expression(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"no Jinja expression: {error}") from None
    return source
