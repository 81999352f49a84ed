"""The commands that messages suggest, such as `next: bessemer status RUN`, and the storage path that they need.

Commands that read runs search the default storage path. If the runs are under another storage path, a suggested command
therefore names it.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

VARIABLE = "BESSEMER_STORAGE_PATH"
_COMMAND = re.compile(
    r"\bbessemer (?:(?P<looks>runs|status|logs|stop|report|gc|show|explain|trace|chat|generate|ui|doctor)\b"
    r"(?! --help| '?/)|(?:run|plan|sweep) RECIPE\b)"
)
"""A command that reads runs (except from a given folder), or one that runs a recipe."""


def default_storage_path() -> str:
    """The folder of artifacts and runs if neither the recipe nor the command names one."""
    return os.environ.get(VARIABLE) or "runs"


def with_storage_path(text: str, root: Path) -> str:
    """`text` with the storage path `root` in each command, unless it is the default or the line names a place."""
    if root == Path(default_storage_path()).expanduser().absolute():
        return text
    path = shlex.quote(str(root))

    def add(command: re.Match[str]) -> str:
        return f"{command[0]} --storage-path {path}" if command["looks"] else f"{command[0]} storage_path={path}"

    places = ("--storage-path", "--address", "storage_path=")
    lines = text.split("\n")
    return "\n".join(line if any(place in line for place in places) else _COMMAND.sub(add, line) for line in lines)
