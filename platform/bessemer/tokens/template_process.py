"""Renders the chat templates of foreign tokenizers in a child process, which limits their memory and CPU time.

A template comes with a model and may be hostile. `chat_jinja` keeps it from reaching files and from looping for ever,
but a template can also fill the memory, even while it is compiled: `{{ ''.ljust(9999999999) }}`, or a text that is
joined to itself in a loop. The template of this package is rendered here. A call of the child takes about 0.1 ms.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from bessemer.child_process import ChildEnded, ChildProcess
from bessemer.tokens import chat_jinja
from bessemer.tokens.chat_jinja import REFUSALS, Rendering
from bessemer.tokens.special import CHAT_TEMPLATE

CPU_SECONDS = 1.0
MEMORY_BYTES = 1 << 30


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    *,
    add_generation_prompt: bool = False,
) -> Rendering:
    """Renders a conversation like `chat_jinja.render`. Raises one of `REFUSALS`, also if a limit is exceeded."""
    rendering: Rendering = _call(template, _rendered, list(messages), dict(variables), add_generation_prompt)
    return rendering


@lru_cache(maxsize=32)
def check_syntax(template: str) -> None:
    """Raises jinja2.TemplateError for a template that cannot be compiled within the limits."""
    _call(template, _compiled)


def _call(template: str, function: Callable[..., Any], *arguments: Any) -> Any:
    if template == CHAT_TEMPLATE:
        return function(template, *arguments)
    try:
        found = _child(os.getpid()).call(_guarded, function, template, *arguments)
    except MemoryError:
        raise TemplateError(f"it needs more than {MEMORY_BYTES >> 30} GiB of memory") from None
    except ChildEnded as ended:
        raise TemplateError(str(ended)) from None
    if isinstance(found, _Refusal):
        raise TemplateError(found)
    return found


class _Refusal(str):
    """The message of an exception of a template. The exception itself may not be picklable."""


def _guarded(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except REFUSALS as error:
        return _Refusal(error)


def _rendered(
    template: str, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any], add_generation_prompt: bool
) -> Rendering:
    return chat_jinja.render(template, messages, variables, add_generation_prompt=add_generation_prompt)


def _compiled(template: str) -> None:
    chat_jinja.compiled(template)


@lru_cache(maxsize=1)
def _child(process: int) -> ChildProcess:
    """The child of this process. A fork of this process gets its own."""
    return ChildProcess(cpu_seconds=CPU_SECONDS, memory_bytes=MEMORY_BYTES)
