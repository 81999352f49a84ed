"""Atomic writes: a file is complete or does not exist.

A file is written under a temporary name on the same file system, flushed to disk and renamed. A reader sees the old
file or the new one, never a part. The names of unfinished files and folders begin with `.tmp-`, and readers ignore
them. The temporary name is in the fence of the held folder (`fences`), so a process that lost its lease cannot publish.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bessemer import fences
from bessemer.errors import InputError, StorageError
from bessemer.terminal import printable

TEMPORARY = ".tmp-"
_FULL = re.compile(
    r"^\d+ requested and \d+ written$"  # numpy
    r"|No space left on device|Disk quota exceeded"  # safetensors, Ray, child processes
    r"|PytorchStreamWriter failed|inline_container.*(unexpected pos|file write failed)"  # torch
    r"|database or disk is full"  # SQLite
)
"""Messages for a full disk from libraries that lose the number of the error."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def local_path(path: str, start: Path | None = None) -> Path:
    """`path` as an absolute local path, from the folder `start` or else the working folder.

    Raises ValueError for a URL: only local and mounted folders can be written to.
    """
    if _URL.match(path):
        raise ValueError("should be a local folder (object stores are not supported yet)")
    return Path(start or Path.cwd(), Path(path).expanduser())


def cache_folder() -> Path:
    """The folder of this user's cache: `$XDG_CACHE_HOME/bessemer` or `~/.cache/bessemer`. Its files may be deleted."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bessemer"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path; on success flushes it to disk and renames it to `path`.

    Raises LeaseLost if this process lost the lease of a folder above `path`.
    """
    temporary = temporary_path(path, secrets.token_hex(4))
    with explained(path), fences.guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def temporary_path(path: Path, tag: str) -> Path:
    """A path on the file system of `path`, to be written and renamed to it; `tag` distinguishes writers of the same
    name."""
    return (fences.find(path) or path.parent) / f"{TEMPORARY}{tag}-{path.name}"


def remove_temporary(folder: Path) -> None:
    """Deletes the unfinished files and folders that killed writers left in `folder` and below."""
    for left in list(folder.rglob(f"{TEMPORARY}*")) if folder.is_dir() else ():
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON with sorted keys, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def parse_json(content: bytes) -> Any:
    """The value in JSON bytes. Raises ValueError for other bytes, also if they are not UTF-8 or nested too deep."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("the value is nested too deep") from None


def read_json(path: Path) -> Any:
    """The value in a JSON file, or None if the file does not exist. Raises ValueError if the file is damaged."""
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        return None


def read_foreign_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file from another program, or None if the file does not exist. Raises InputError for other
    values."""
    try:
        found = read_json(path)
    except (ValueError, RecursionError) as error:
        raise InputError(f"`{path}` is not JSON: {error}", hint="fetch its folder again") from None
    if not isinstance(found, dict | None):
        raise InputError(f"`{path}` holds no JSON object", hint="fetch its folder again")
    return found


def append_line(path: Path, value: Any) -> None:
    """Appends one JSON line in one write. A crash or a full disk can leave a torn line, which readers skip."""
    line = (json.dumps(value, ensure_ascii=False) + "\n").encode()
    with explained(path), fences.guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            line = b"\n" + line if torn else line
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)


class LogFile(logging.FileHandler):
    """A log file with control characters written out, because people read it in a terminal.

    It never stops the program: lines that a full disk refuses are lost.
    """

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file. Skips unreadable lines.

    Also finds an object that was appended to a torn line without a line end.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            value = parse_line(line)
            if value is not None:
                yield value


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The object in a line of a JSON-lines file, also after a torn beginning; None if there is none."""
    line = line.strip(b"\x00\n")
    start = 0
    for _ in range(_MOST_STARTS):
        with contextlib.suppress(ValueError):
            value = parse_json(line[start:])
            return value if isinstance(value, dict) else None
        start = line.find(b'{"', start + 1)
        if start < 0:
            break
    return None


_MOST_STARTS = 100
"""Maximum number of positions in a torn line at which `parse_line` looks for an object."""


def files_under(folder: Path, suffix: str = "") -> list[Path]:
    """Every file below `folder` whose name ends with `suffix`, sorted by relative path, without temporary files."""
    found = [p for p in folder.rglob(f"*{suffix}") if p.is_file() and not p.name.startswith(TEMPORARY)]
    return sorted(found, key=lambda p: p.relative_to(folder).as_posix())


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the operating system's write errors into errors with a hint."""
    try:
        yield
    except OSError as error:
        if full := no_space(error, path):
            raise full from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StorageError(
                f"`{error.filename or path}` cannot be written: {error.strerror}",
                hint="set `storage_path` to a folder you may write to",
            ) from error
        raise


def no_space(error: BaseException, path: Path) -> StorageError | None:
    """The error for a full disk or quota; None if `error` is another one."""
    known = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not known and not _FULL.search(str(error)):
        return None
    return StorageError(
        f"no space left to write `{path}`",
        hint="free some space (`bessemer gc`) or set `storage_path` to another disk, then run the same command",
    )
