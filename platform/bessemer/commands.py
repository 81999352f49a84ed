"""The commands that messages suggest, such as `next: bessemer status RUN`, and the storage path that they need.

Commands that look at runs search the default storage path. A suggested command therefore repeats the path of the runs
that it is about, if it is another one.
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
"""A command that looks at runs, except at a folder, or one that runs a recipe without a name."""


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
