"""Runs a user's function in a separate process, so that a function that hangs or crashes does not end the training."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from bessemer.child_process import ChildEnded, ChildProcess
from bessemer.errors import InputError
from bessemer.recipe.functions import load_function

STARTING_SECONDS = 60.0
"""Time limit to start the process and to import the user's file with all its imports."""


class FunctionProcessFailed(Exception):
    """The function raised an exception, exceeded its time, ended its process, or returned a wrong result."""


class ChildFunction:
    """Calls the function `name` of the Python file `file` in a child process, which starts at the first call."""

    def __init__(self, file: str, name: str, *, timeout_seconds: float) -> None:
        self._file, self._name, self._timeout = file, name, timeout_seconds
        self._child = ChildProcess()
        self._is_loaded = False

    def __call__(self, count: int, columns: Mapping[str, Sequence[Any]]) -> list[float | None]:
        """Returns `count` numbers, with None for each result that is None or not finite.

        The function gets `columns` as keyword arguments: all of them if its signature has `**`, else those that it
        names. Raises FunctionProcessFailed.
        """
        if not self._is_loaded:
            self._answer(STARTING_SECONDS, _load, self._file, self._name)
            self._is_loaded = True
        answer: list[float | None] = self._answer(self._timeout, _values, self._file, self._name, count, dict(columns))
        return answer

    def __enter__(self) -> ChildFunction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._child.kill()
        self._child.close()

    def _answer(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
        self._child.seconds = seconds
        try:
            return self._child.call(function, *arguments)
        except InputError as error:
            raise FunctionProcessFailed(error.message) from None
        except _Raised as error:
            raise FunctionProcessFailed(str(error)) from None
        except ChildEnded as error:
            self._is_loaded = False
            raise FunctionProcessFailed(str(error)) from None


_LOADED: dict[tuple[str, str], Callable[..., Any]] = {}
"""The functions of the child. A change of the file during the run changes no reward."""


class _Raised(Exception):
    """An exception of the user's code, as text."""


def _load(file: str, name: str) -> None:
    """Imports the user's file. Runs in the child."""
    try:
        _LOADED[file, name] = load_function(file, name)
    except InputError:
        raise
    except BaseException as error:  # noqa: BLE001 the parent reports every error of the user's code
        raise _Raised(_last_line(error, file)) from None


def _values(file: str, name: str, count: int, columns: Mapping[str, Sequence[Any]]) -> list[float | None]:
    """Calls the user's function. Runs in the child, which has imported the file."""
    try:
        return _checked(_call(_LOADED[file, name], columns), count)
    except BaseException as error:  # noqa: BLE001 as above
        raise _Raised(_last_line(error, file)) from None


def _call(function: Callable[..., Any], columns: Mapping[str, Sequence[Any]]) -> Any:
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return function(**columns)
    return function(**{name: values for name, values in columns.items() if name in parameters})


def _checked(answer: Any, count: int) -> list[float | None]:
    try:
        values = list(answer)
    except TypeError:
        raise TypeError(f"it returned {type(answer).__name__} instead of a list of numbers") from None
    if len(values) != count:
        raise ValueError(f"it returned {len(values)} numbers for {count} completions")
    numbers = [math.nan if value is None else float(value) for value in values]
    return [number if math.isfinite(number) else None for number in numbers]


def _last_line(error: BaseException, file: str) -> str:
    """The exception, with the line of the user's file that raised it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" (line {lines[-1]} of `{file}`)" if lines else ""
    return "".join(traceback.format_exception_only(error)).strip() + where
