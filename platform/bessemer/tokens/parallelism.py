"""Says how many threads `tokenizers` may use. The library reads one environment variable before each batch.

It is set both ways, never left out: a process that forks after the library used threads would otherwise get a
warning for each child. Workers of a pool share the CPUs as processes, so they use one thread each.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_VARIABLE = "TOKENIZERS_PARALLELISM"


@contextlib.contextmanager
def parallelism(allowed: bool) -> Iterator[None]:
    """Lets `tokenizers` use all CPUs, or one, inside the block; afterwards one."""
    os.environ[_VARIABLE] = "true" if allowed else "false"
    try:
        yield
    finally:
        os.environ[_VARIABLE] = "false"
