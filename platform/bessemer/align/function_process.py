"""Runs a user's function in a separate process, so that a function that hangs or crashes does not end the training."""

from __future__ import annotations

import inspect
import math
import multiprocessing
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

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
        self._process: Any = None
        self._connection: Connection[Any, Any] | None = None

    def __call__(self, count: int, columns: Mapping[str, Sequence[Any]]) -> list[float | None]:
        """Returns `count` numbers, with None for each result that is None or not finite. Raises FunctionFailed.

        The function gets `columns` as keyword arguments: all of them if its signature has `**`, else those that it
        names.
        """
        if self._connection is None:
            self._start()
        answer: list[float | None] = self._exchange((count, dict(columns)), self._timeout)
        return answer

    def __enter__(self) -> ChildFunction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._end()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._file, self._name), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._exchange(None, STARTING_SECONDS)
        except FunctionProcessFailed:
            self._end()
            raise

    def _exchange(self, request: tuple[int, dict[str, Sequence[Any]]] | None, timeout: float) -> Any:
        """Sends `request`, unless it is None, and waits for the next answer of the child."""
        assert self._connection is not None
        try:
            if request is not None:
                self._connection.send(request)
            if not self._connection.poll(timeout):
                self._end()
                raise FunctionProcessFailed(f"it did not answer within {timeout:g} seconds")
            worked, answer = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self._end()
            raise FunctionProcessFailed(f"its process ended with exit code {code}") from None
        if not worked:
            raise FunctionProcessFailed(answer)
        return answer

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _serve(connection: Connection[Any, Any], file: str, name: str) -> None:
    """The child process: loads the function, reports whether that worked, then answers requests in a loop."""
    sys.stdout = sys.stderr  # standard output is reserved for the data of the command
    try:
        function = load_function(file, name)
        connection.send((True, None))
        while True:
            count, columns = connection.recv()
            try:
                connection.send((True, _checked(_call(function, columns), count)))
            except BaseException as error:  # noqa: BLE001 the parent reports every error of the user's code
                connection.send((False, _last_line(error, file)))
    except EOFError:
        return
    except InputError as error:
        connection.send((False, error.message))
    except BaseException as error:  # noqa: BLE001 as above
        connection.send((False, _last_line(error, file)))


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
