"""Finds the input files of a recipe's `paths`, with their names and the identity of their content.

A path is a file, a folder (all files below it except hidden ones) or a pattern (`*`, `?`, `[...]`, `**`). A file's name
is its path relative to the folder, or to the part of the pattern before the first wildcard. So it does not depend on
the location of the folder.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bessemer.errors import InputError
from bessemer.hashes import sha256_of, state

CHECK_PATHS = "check `paths`: they are relative to the folder of the recipe"


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file: the name that its documents' ids contain, and its current path."""

    relative: str
    path: str
    size: int
    state: str = ""
    """The size and times of the file, from `hashes.state`."""


def find_files(paths: Sequence[str]) -> list[InputFile]:
    """Finds every file that `paths` name, in the order of their names. Raises InputError if a path has no file."""
    found: dict[str, InputFile] = {}
    for pattern in paths:
        files = _matching(pattern)
        if not files:
            raise InputError(
                f"`{pattern}` matches no file" if _is_pattern(pattern) else f"`{pattern}` contains no file",
                hint=CHECK_PATHS,
            )
        for name, path in files:
            relative = os.fsencode(name).decode("utf-8", "backslashreplace")  # a name need not be text
            seen = _seen(path)
            known = found.setdefault(relative, InputFile(relative, path, seen.st_size, state(seen)))
            if known.path != path and not Path(known.path).samefile(path):
                raise InputError(
                    f"two input files are both called `{relative}`: `{known.path}` and `{path}`",
                    hint="name a folder that contains both, or read them in two stages with different `source`",
                )
    return [found[relative] for relative in sorted(found)]


def describe(files: Sequence[InputFile]) -> list[tuple[str, int, str]]:
    """Returns (name, size, SHA-256) of every file, which identifies the inputs independent of their location."""
    hashes = sha256_of([Path(file.path) for file in files])
    return [(file.relative, file.size, sha256) for file, sha256 in zip(files, hashes, strict=True)]


def _matching(pattern: str) -> list[tuple[str, str]]:
    """(name, path) of the files behind one entry of `paths`."""
    if "://" in pattern:
        raise InputError(
            f"`{pattern}` is not a local path", hint="copy it to a folder on this machine, and name that folder"
        )
    path = Path(pattern)
    if path.is_dir():
        return [(file.relative_to(path).as_posix(), str(file)) for file in _walk(path)]
    if path.is_file():
        return [(path.name, str(path))]
    if not _is_pattern(pattern):
        raise InputError(f"`{pattern}` does not exist", hint=CHECK_PATHS)
    fixed = list(itertools.takewhile(lambda part: not _is_pattern(part), path.parts))
    rest = [*path.parts[len(fixed) :], *(["*"] if path.name == "**" else [])]
    matches = [(match.relative_to(Path(*fixed)), match) for match in Path(*fixed).glob("/".join(rest))]
    return [(name.as_posix(), str(match)) for name, match in matches if match.is_file() and not _is_hidden(name)]


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            Path(root, name) for name in sorted(names) if not name.startswith(".") and Path(root, name).is_file()
        )


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _seen(path: str) -> os.stat_result:
    try:
        with Path(path).open("rb") as file:
            return os.fstat(file.fileno())
    except PermissionError:
        raise InputError(f"permission to read `{path}` is denied", hint=f"allow it with `chmod u+r {path}`") from None
