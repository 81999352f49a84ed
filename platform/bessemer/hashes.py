"""SHA-256 of files, cached in the user's cache for repeated requests.

The cache identifies a file by its real path, inode, size, and times of modification and change, like git's index. A
file that changed within the last seconds is hashed again, because it might still change without a new time. The cache
may be deleted at any time. If it cannot be used, files are hashed again.

`state` returns the part of this identity that is equal on all machines. If a file has the same state before it is
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
"""Seconds after which the times of a file are trusted. The coarsest file systems store times in seconds."""
_THREADS = 4
_TABLE = "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL)"


def sha256_of(paths: Sequence[Path], *, fresh: bool = False) -> list[str]:
    """The SHA-256 of each file in hexadecimal. Unchanged files are not read again, unless `fresh` is set."""
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
    """Yields a dictionary that collects, for each file that `sha256_of` hashes, its state before it was hashed."""
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
    """The first file whose state has changed; None if no state has changed."""
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
    """The cache, or None if it cannot be used."""
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
