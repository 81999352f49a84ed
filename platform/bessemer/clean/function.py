"""`function`: a custom rule, written as a Python function in your own file.

    # rules.py, next to the recipe
    def share_of_digits(text):
        return sum(map(str.isdigit, text)) / max(len(text), 1)

    def not_archived(url, metadata):
        return "/archive/" not in url and metadata.get("type") != "index"

    def without_footer(text, language):
        return text.split("Impressum")[0] if language == "de" else text

    # recipe.yaml
    clean:
      rules:
        - normalise
        - language
        - function: {file: rules.py, name: share_of_digits, max: 0.2}
        - function: {file: rules.py, name: not_archived}
        - function: {file: rules.py, name: without_footer}

The names of the parameters select the arguments: `text`, `url`, `source`, `license`, `language` (the result of the rule
`language`) and `metadata` (a dictionary). The return value decides about the document:

| returns | effect |
|---|---|
| `True`, `False` | the document is kept, or removed |
| a number | the document is removed if the number is below `min` or above `max`; set at least one of them |
| a text | the document's new text; an empty one removes the document |

The function is called for the documents that earlier rules kept. Any other return value ends the run with an error. An
exception for the first document also ends the run. An exception for a later document gives it the verdict `crashed`,
with the error as evidence.

The result must depend only on the arguments. The stage's fingerprint covers the content of the file, but not its path.
"""

from __future__ import annotations

import ast
import inspect
import json
import math
import numbers
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from bessemer.clean.rules import Broken, Findings, Rule
from bessemer.clean.spans import Array
from bessemer.clean.texts import Texts
from bessemer.errors import InputError
from bessemer.recipe.functions import SCOPES, function_file, load_function
from bessemer.recipe.problems import nearest
from bessemer.recipe.settings import RecipeFile, execution

PARAMETERS = ("text", "url", "source", "license", "language", "metadata")
"""The parameters that a function may have."""
RETURNS = "return `True` or `False`, a number with `min` or `max` set, or the new text"


class FunctionFailed(Exception):
    """A custom function raised an exception; the message names the exception and the line."""


class CustomRule(Rule):
    """Measures, rewrites or removes documents with your own Python function."""

    skips_removed: ClassVar[bool] = True

    rule: Literal["function"] = "function"
    file: RecipeFile = execution(...)
    """The Python file, relative to the recipe."""
    name: str
    """The function's name in the file."""
    min: float | None = None
    """Minimum returned number; documents with a smaller number are removed."""
    max: float | None = None
    """Maximum returned number; documents with a larger number are removed."""

    @property
    def label(self) -> str:
        return "function"

    @property
    def reads_fields(self) -> Collection[str]:
        return set(PARAMETERS) - {"text", "language"}

    def apply(self, texts: Texts) -> Findings:
        if not len(texts):
            return Findings({self.name: np.zeros(0)})
        function = self._loaded()
        wanted = _parameters(function, self.name)
        values, strings = np.ones(len(texts)), list(texts.strings)
        for index in range(len(texts)):
            arguments = {name: _argument(texts, name, index) for name in wanted}
            returned = self._call(function, arguments)
            if isinstance(returned, str):
                strings[index] = returned
            values[index] = self._value(returned, texts, index)
        return Findings({self.name: values}, None if strings == texts.strings else Texts(strings))

    def broken(self, signals: Mapping[str, Array], languages: Sequence[str | None]) -> list[Broken]:
        values = signals[self.name]
        if self.min is None and self.max is None:
            return [Broken(self.name, np.ones(len(values)), values < 1)]
        found = []
        if self.min is not None:
            found.append(Broken(self.name, np.full(len(values), self.min), values < self.min))
        if self.max is not None:
            found.append(Broken(self.name, np.full(len(values), self.max), values > self.max))
        return found

    def checked_file(self) -> str:
        """The SHA-256 of the file, after a check of the function. Does not run the file, so a plan can call this.

        Raises InputError if there is no such function, if it has a parameter that is not a field of a document, or if
        it never returns a value.
        """
        digest = function_file(self.file, self.name)
        definitions = [node for node in ast.walk(ast.parse(Path(self.file).read_bytes())) if _defines(node, self.name)]
        if len(definitions) == 1:
            _check_definition(definitions[0], self.name)
        return digest

    def _loaded(self) -> Callable[..., Any]:
        try:
            return load_function(self.file, self.name)
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # the file is the user's and may raise anything
            raise InputError(
                f"`{self.file}` cannot be run: {_described(error, self.file)}", hint="try it with `python FILE`"
            ) from error

    def _call(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        try:
            return function(**arguments)
        except (Exception, SystemExit) as error:  # the function may raise anything
            raise FunctionFailed(f"`{self.name}` raised {_described(error, self.file)}") from error

    def _value(self, returned: Any, texts: Texts, index: int) -> float:
        """The signal: the number, or 1 if the document stays. Raises InputError for any other value."""
        problem = _problem(returned, limited=self.min is not None or self.max is not None)
        if problem:
            url = texts.fields.get("url", ())
            place = f" for `{url[index]}`" if url else ""
            raise InputError(f"the function `{self.name}` of `{self.file}` returned {problem}{place}", hint=RETURNS)
        return float(bool(returned.strip())) if isinstance(returned, str) else float(returned)


def _problem(returned: Any, *, limited: bool) -> str:
    """The problem of a return value, for a rule with or without limits; empty if there is none."""
    flag, text = isinstance(returned, bool | np.bool_), isinstance(returned, str)
    if not (flag or text or isinstance(returned, numbers.Real)):
        return f"{_short(returned)}, a `{type(returned).__name__}`"
    if flag or text:
        if limited:
            return f"{_short(returned)}, but `min` and `max` need a number"
        whole = not text or returned.isascii() or returned.encode("utf-8", "ignore").decode() == returned
        return "" if whole else "a text with half a surrogate pair"
    if not limited:
        return f"the number {returned}, but neither `min` nor `max` is set"
    try:
        is_finite = math.isfinite(returned)
    except OverflowError:
        return "a number beyond the range of a float"
    return "" if is_finite else f"{returned}, which cannot be compared"


def _argument(texts: Texts, name: str, index: int) -> Any:
    if name == "text":
        return texts.strings[index]
    if name == "language":
        return texts.languages[index]
    value = texts.fields[name][index]
    return json.loads(value) if name == "metadata" else value


def _parameters(function: Callable[..., Any], name: str) -> list[str]:
    """The document fields that a function takes. Raises InputError for a parameter that is not a field."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise InputError(f"the parameters of `{name}` cannot be read", hint="write it as a Python `def`") from None
    if any(one.kind is one.VAR_KEYWORD for one in found):
        return list(PARAMETERS)
    for one in found:
        if one.kind in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL):
            raise InputError(f"`{name}` takes `{one.name}` by position", hint="a rule's parameters are given by name")
    needed = [one.name for one in found if one.default is one.empty]
    _check_parameters([*needed], name)
    return [one.name for one in found if one.name in PARAMETERS]


def _check_parameters(found: Sequence[str], name: str) -> None:
    for parameter in found:
        if parameter not in PARAMETERS:
            raise InputError(
                f"`{name}` has the parameter `{parameter}`, which is not a field of a document",
                hint=f"{nearest(parameter, PARAMETERS)}; a rule may ask for {', '.join(f'`{p}`' for p in PARAMETERS)}",
            )


def _defines(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name


def _check_definition(definition: Any, name: str) -> None:
    """Raises InputError if the function cannot take a document or never returns a value."""
    if isinstance(definition, ast.AsyncFunctionDef):
        raise InputError(f"`{name}` is an `async def`", hint="a rule is a plain `def`")
    if definition.decorator_list:
        return  # a decorator may change the parameters and the return value
    arguments = definition.args
    optional = len(arguments.defaults)
    needed = arguments.args[: len(arguments.args) - optional]
    needed += [one for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    _check_parameters([one.arg for one in needed], name)
    if not any(isinstance(node, ast.Return) and not _is_none(node.value) for node in _own_nodes(definition)):
        raise InputError(f"`{name}` in line {definition.lineno} never returns a value", hint=RETURNS)


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _own_nodes(definition: Any) -> list[ast.AST]:
    """The nodes of a function's body, without those of nested functions and classes."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(definition.body)
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, SCOPES):
            waiting += ast.iter_child_nodes(node)
    return found


def _described(error: BaseException, file: str) -> str:
    """The error, and the last line of the user's file in its traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    place = f" in line {lines[-1]} of `{file}`" if lines else ""
    return f"{type(error).__name__}{place}: {error}" if str(error) else f"{type(error).__name__}{place}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
