"""Keeps a process that lost its lease from publishing files.

The holder of a lease creates a folder, its *fence*, inside the folder that it holds. Every file that it publishes there
is first written into the fence and then renamed. The next holder renames the fence away before it begins, and puts a
file in its place, so that it cannot be created again. After that, a rename of the former holder fails, because
the kernel does not find its source. So the former holder cannot publish a file between a check and a write.

Each process has a table of the fences that it may use. A worker process adopts the table of the process that started
it. A path without a fence in the table is written without one. A lookup costs one dictionary access per parent folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bessemer.errors import LeaseLost

_fences: dict[Path, Path] = {}
"""The fence of each held folder; both are absolute paths."""


def install(folder: Path, fence: Path) -> None:
    """Directs the files that this process publishes below `folder` through `fence`."""
    _fences[folder.absolute()] = fence.absolute()


def remove(folder: Path, fence: Path) -> None:
    """Undoes `install`, unless another fence was installed for the folder since."""
    if _fences.get(folder.absolute()) == fence.absolute():
        del _fences[folder.absolute()]


def table() -> dict[Path, Path]:
    """The fences of this process, for a worker process to adopt."""
    return dict(_fences)


def adopt(fences: Mapping[Path, Path]) -> None:
    """Replaces the table of this process, a worker that serves one run."""
    _fences.clear()
    _fences.update(fences)


def find(path: Path) -> Path | None:
    """The fence of the nearest held folder that contains `path`; None if no folder above it is held."""
    if not _fences:
        return None
    place = path.absolute()
    return next((fence for above in (place, *place.parents) if (fence := _fences.get(above))), None)


def check(path: Path) -> None:
    """Raises LeaseLost if this process held a folder above `path` and lost it."""
    fence = find(path)
    if fence is not None and not fence.is_dir():
        raise lost(fence)


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Raises LeaseLost, in place of any other error, if the fence of `path` is gone before or after the body."""
    check(path)
    try:
        yield
    finally:
        check(path)


def lost(fence: Path) -> LeaseLost:
    """The error for a fence that was renamed away."""
    return LeaseLost(
        f"another process writes `{fence.parent}` now, because this one sent no heartbeat for too long",
        hint="its result is used; run the same command again to see how far it is",
    )
