"""Parses pages and sitemaps outside of the event loop, in a child process that can be ended.

In the worst case, the time of libxml2 grows with the square of the input, because it compares each end tag with all
open elements: a page of 4 MiB can take hours. A rare page crashes the parser. The event loop parses inputs of at most
`HERE_BYTES`, which take less than 0.2 s in the worst case. The child parses the larger ones, one after another, each
for at most `CPU_SECONDS`. An ordinary page of 4 MiB takes about 0.5 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, TypeVar

from bessemer.artifacts.content_coding import GZIP
from bessemer.child_process import ChildProcess

HERE_BYTES = 16 << 10
CPU_SECONDS = 20.0

P = ParamSpec("P")
R = TypeVar("R")


class Parser:
    """Calls parsing functions; all of them in the child if `careful`."""

    def __init__(self, *, careful: bool = False) -> None:
        self._careful = careful
        self._turn = asyncio.Lock()
        self._child = ChildProcess(cpu_seconds=CPU_SECONDS)

    async def __call__(
        self, function: Callable[Concatenate[bytes, P], R], content: bytes, /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """`function(content, ...)`. Raises its exceptions, OutOfTime, or ChildEnded if the parser crashes."""
        if not self._careful and len(content) <= HERE_BYTES and not content.startswith(GZIP):
            return function(content, *args, **kwargs)
        async with self._turn:
            try:
                return await asyncio.to_thread(self._child.call, function, content, *args, **kwargs)
            except asyncio.CancelledError:
                self._child.kill()
                raise

    def __enter__(self) -> Parser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._child.close()
