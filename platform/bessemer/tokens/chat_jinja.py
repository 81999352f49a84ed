"""Renders Jinja chat templates exactly as `transformers` does: same environment, same variables, same text.

The environment is that of `transformers.utils.chat_template_utils` 5.23: immutable sandbox, `{% generation %}` blocks,
`raise_exception`, `strftime_now`, and a `tojson` that escapes neither HTML nor Unicode. Keys with a null value are
removed from messages, and reasoning is passed under each name that templates read.

A template comes with a model and may be hostile. It runs in Jinja's sandbox; its loops and macros run at most
`MAX_STEPS` times per rendering (about 0.5 s), and products and powers have a limit of size. Memory and time are limited
by `template_process`, which calls this module.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import Template, TemplateError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

REFUSALS = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Exceptions of a template that rejects a conversation, on purpose or because it reads a missing value."""
REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
"""Keys of a message that contain its reasoning. Templates read the first or the second."""
MAX_STEPS = 500_000
MAX_SIZE = 10_000_000
"""Characters, elements, or bits of a number."""
_SPANS = "_generation_spans"
_WIDTH = re.compile(r"%[^a-zA-Z%]*(?:\d{6}|\*)")
_steps = threading.local()


class Rendering(NamedTuple):
    """The rendered text of a conversation, and the spans of its `{% generation %}` blocks in characters."""

    text: str
    generated: list[tuple[int, int]]


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    *,
    add_generation_prompt: bool = False,
) -> Rendering:
    """Renders a conversation. `variables` are those of the row (`tools`, ...) and the names of special tokens.

    Raises one of `REFUSALS`.
    """
    blocks: list[str] = []
    spans: list[tuple[int, int]] = []
    length = 0

    def so_far() -> int:
        return length

    _steps.left = MAX_STEPS
    blanks = {"tools": None, "documents": None}
    for block in compiled(template).generate(
        messages=[_message(message) for message in messages],
        add_generation_prompt=add_generation_prompt,
        **blanks | dict(variables),
        **{_SPANS: (so_far, spans)},
    ):
        blocks.append(block)
        length += len(block)
    return Rendering("".join(blocks), spans)


@lru_cache(maxsize=32)
def compiled(template: str) -> Template:
    """The compiled template. Raises jinja2.TemplateError for invalid syntax."""
    try:
        return _environment().from_string(template)
    except (RecursionError, MemoryError, SyntaxError, ValueError) as error:  # of Python's compiler
        raise TemplateError(f"{type(error).__name__}: {error}"[:200]) from None


@lru_cache(maxsize=32)
def reads(template: str, name: str) -> bool:
    """Whether the template mentions `name`, a variable or a key of messages."""
    return re.search(rf"\b{name}\b", template) is not None


@lru_cache(maxsize=32)
def marks_answers(template: str) -> bool:
    """Whether the template marks the assistant's answers with `{% generation %}` blocks."""
    return re.search(r"\{%[-+]?\s*generation\s*[-+]?%\}", template) is not None


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in message.items() if value is not None}
    reasoning = next((given[key] for key in REASONING_KEYS if key in given), None)
    return given if reasoning is None else {"thinking": reasoning, **given, "reasoning_content": reasoning}


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}`: records the span of the block and does not change the text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_record"), [], [], body).set_lineno(line)

    @pass_context
    def _record(self, context: Context, caller: Macro) -> str:
        text: str = caller()
        so_far, spans = context[_SPANS]
        spans.append((so_far(), so_far() + len(text)))
        return text


class _Namespace(Namespace):
    """A namespace that rejects names with a leading underscore, which could reach the interpreter's internals."""

    def __init__(*args: Any, **values: Any) -> None:
        self, given = args[0], dict(*args[1:], **values)
        for name in given:
            _check_name(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with a count of the steps of loops and macros."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        repeated: tuple[Any, ...] = (nodes.For, nodes.Macro, nodes.CallBlock)
        for node in source.find_all(repeated):
            step = nodes.Call(nodes.EnvironmentAttribute("step"), [], [], None, None)
            node.body.insert(0, nodes.ExprStmt(step).set_lineno(node.lineno))
        return super()._generate(source, *args, **kwargs)

    @staticmethod
    def step() -> None:
        _steps.left -= 1
        if _steps.left < 0:
            raise TemplateError(f"its loops and macros run more than {MAX_STEPS} times")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%":
            too_large = isinstance(left, str) and _WIDTH.search(left) is not None
        elif isinstance(left, int) and isinstance(right, int):
            factor = right if operator == "**" else right.bit_length()
            too_large = left.bit_length() * max(factor, 1) > MAX_SIZE
        else:
            too_large = operator == "*" and _size(left) * _size(right) > MAX_SIZE
        if too_large:
            raise TemplateError(f"the result of `{operator}` is larger than {MAX_SIZE}")
        return super().call_binop(context, operator, left, right)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else value if isinstance(value, int) else 1


def _check_name(name: str) -> None:
    if name.startswith("_"):
        raise SecurityError(f"a chat template may not store `{name}` in a namespace")


class _Dict:
    """`dict` without access to its attributes."""

    def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
        return dict(*args, **values)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {
        "raise_exception": _raise,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise TemplateError(message)
