"""Sets the number of threads of `tokenizers`. The library reads an environment variable before each batch.

The variable is always set, never unset. Otherwise, a process that forks after the library used threads would get a
warning per child. Worker processes share the CPUs, so each uses one thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_VARIABLE = "TOKENIZERS_PARALLELISM"


@contextlib.contextmanager
def parallelism(allowed: bool) -> Iterator[None]:
    """A context in which `tokenizers` uses all CPUs if `allowed`, otherwise one. After the context, it uses one."""
    os.environ[_VARIABLE] = "true" if allowed else "false"
    try:
        yield
    finally:
        os.environ[_VARIABLE] = "false"
