"""SHA-256 of files that are asked for again and again, remembered in the user's cache.

A file is known by its real path, inode, size and times of modification and change, as git's index knows it. A file that
was changed within the last seconds is hashed again, because it might still change without a new time. The cache may be
deleted at any time; if it cannot be used, files are read.

`state` is the part of this that is equal on every machine that sees the file. If a file has one state before it is
hashed, before it is read and after it is read, then the content that was read is the content that was hashed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bessemer import storage
from bessemer.fingerprint import file_sha256

SETTLED_SECONDS = 2.0
"""Age at which a file's times are trusted: file systems keep them by the second at worst."""
_THREADS = 4
_TABLE = "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL)"


def sha256_of(paths: Sequence[Path], *, fresh: bool = False) -> list[str]:
    """The SHA-256 of each file in hexadecimal; files that have not changed are not read, unless `fresh`."""
    found_files = {path: path.stat() for path in paths}
    states = {path: f"{found.st_dev} {found.st_ino} {state(found)}" for path, found in found_files.items()}
    for recorder in _recorders:
        recorder.update({path.absolute(): state(found) for path, found in found_files.items()})
    with _cache() as cache:
        known = {path: None if fresh else _look_up(cache, path, state) for path, state in states.items()}
        missing = [path for path, sha256 in known.items() if sha256 is None]
        with ThreadPoolExecutor(max_workers=_THREADS) as pool:
            found = dict(zip(missing, pool.map(file_sha256, missing), strict=True))
        rows = [(_key(path), states[path], sha256) for path, sha256 in found.items() if _settled(path)]
        if cache is not None and rows:
            with contextlib.suppress(sqlite3.Error), cache:
                cache.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", rows)
    return [known[path] or found[path] for path in paths]


_recorders: list[dict[Path, str]] = []


@contextlib.contextmanager
def recorded() -> Iterator[dict[Path, str]]:
    """Yields the state of each file that `sha256_of` is asked for meanwhile, as it was before the file was hashed."""
    states: dict[Path, str] = {}
    _recorders.append(states)
    try:
        yield states
    finally:
        _recorders[:] = [one for one in _recorders if one is not states]


def state(found: os.stat_result) -> str:
    """Size and times of a file. Its content cannot change without a new state, unless a clock is set back."""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def changed(states: Mapping[Path, str]) -> Path | None:
    """The first file whose state is another one now; None if all are as they were."""
    for path, before in states.items():
        try:
            if state(path.stat()) != before:
                return path
        except FileNotFoundError:
            return path
    return None


def _settled(path: Path) -> bool:
    return time.time() - max(path.stat().st_mtime, path.stat().st_ctime) > SETTLED_SECONDS


def _key(path: Path) -> str:
    """The path as text that SQLite can store; the bytes of a name need not be UTF-8."""
    return os.fsencode(path.resolve()).decode("utf-8", "backslashreplace")


def _look_up(cache: sqlite3.Connection | None, path: Path, state: str) -> str | None:
    with contextlib.suppress(sqlite3.Error):
        row = (
            cache
            and cache.execute("SELECT sha256 FROM hashes WHERE path = ? AND state = ?", (_key(path), state)).fetchone()
        )
        return str(row[0]) if row else None
    return None


@contextlib.contextmanager
def _cache() -> Iterator[sqlite3.Connection | None]:
    """The cache, or None where there can be none."""
    file = storage.cache_folder() / "hashes.sqlite"
    connection = None
    with contextlib.suppress(OSError, sqlite3.Error):
        file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(file, timeout=10.0)
        connection.execute(_TABLE)
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()
