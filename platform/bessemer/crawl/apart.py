"""Parsing in a child process, for the page that kills its parser.

libxml2 is compiled code, and some page out there makes it crash. A unit of work that died twice is done again with
its pages parsed over there: the one that kills the child costs itself and nothing else. About 2 ms more a page.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Caller(Protocol):
    """Calls a function: here, or where it can do no harm. None if the function killed its process."""

    def __call__(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R | None: ...


def call_here(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R | None:
    return function(*args, **kwargs)


class Apart:
    """A caller with a child process, started when first needed and again after each death."""

    def __init__(self) -> None:
        self._child: ProcessPoolExecutor | None = None

    def __call__(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if self._child is None:
            self._child = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        try:
            return self._child.submit(function, *args, **kwargs).result()
        except BrokenProcessPool:
            self._close()
            return None

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        if self._child is not None:
            self._child.shutdown()
            self._child = None
