"""Jinja templates and expressions that make prompts and answers from an item's row, as in lm-evaluation-harness.

A template returns text, an expression any value. Both run in Jinja's sandbox, because a task's file may come from
somebody else. An unknown name raises an error instead of becoming empty text. The filter
`regex_replace(pattern, replacement)` is available in addition to Jinja's filters.
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
    """Compiles a template to a function from row to text. It raises Jinja's and Python's errors for unsuitable rows."""
    compiled = _ENVIRONMENT.from_string(source)
    return lambda row: compiled.render(row, row=row)


@lru_cache(maxsize=1024)
def expression(source: str) -> Callable[[Row], Any]:
    """Compiles an expression to a function from row to value. It raises Jinja's and Python's errors for unsuitable
    rows."""
    compiled = _ENVIRONMENT.compile_expression(source, undefined_to_none=False)

    def evaluate(row: Row) -> Any:
        value = compiled(row, row=row)
        if isinstance(value, Undefined):
            str(value)  # raises UndefinedError: an unknown name alone does not raise before it is used
        return value

    return evaluate


def check_template(source: str) -> str:
    """Returns the source unchanged. Raises ValueError if it is not a valid template."""
    try:
        _ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"not a Jinja template: {error}") from None
    return source


def check_expression(source: str) -> str:
    """Returns the source unchanged. Raises ValueError if it is not a valid expression."""
    try:
        _ENVIRONMENT.compile_expression(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"not a Jinja expression: {error}") from None
    return source
