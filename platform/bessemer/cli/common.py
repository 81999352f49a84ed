"""What several commands share: arguments, tables, JSON."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bessemer.commands import VARIABLE, default_storage_path, with_storage_path
from bessemer.credentials import redact

if TYPE_CHECKING:
    from bessemer.errors import BessemerError

DIRECTIONS = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Characters that change the direction of the text after them."""
RECIPE = click.argument("recipe", type=click.Path(path_type=Path))
ASSIGNMENTS = click.argument("assignments", nargs=-1, metavar="[FIELD=VALUE]...")
ROOT = "bessemer.storage_path"
"""Key of the storage path in click's `meta`, which all contexts of a command share."""
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, in base units.")


class LocalPath(click.ParamType[Path]):
    """A path of this machine, made absolute. A URL is refused, because it would name a folder such as `s3:`."""

    name = "path"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        from bessemer.storage import local_path

        try:
            return local_path(str(value))
        except ValueError as error:
            self.fail(f"`{value}` {error}", parameter, context)


def storage_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--storage-path",
        "root",
        default=default_storage_path,
        show_default="runs",
        show_envvar=True,
        envvar=VARIABLE,
        type=LocalPath(),
        callback=lambda context, option, root: use_root(root),
        help="The folder of artifacts and runs.",
    )(command)


def use_root(root: Path) -> Path:
    """Makes the commands that are suggested from now on repeat the storage path `root`."""
    click.get_current_context().meta[ROOT] = root
    return root


def completed(text: str) -> str:
    """`text` with the storage path of the running command in each command that it suggests."""
    context = click.get_current_context(silent=True)
    root = context.meta.get(ROOT) if context else None
    return with_storage_path(text, root) if root else text


def advise(error: BessemerError, command: str) -> None:
    """Adds `command` to the hint of an error, if the same command can continue."""
    if error.exit_code == 130:
        error.hint = f"continue with: {command}"
    elif error.may_pass:
        error.hint = f"{error.hint}\ncontinue with: {command}"


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns padded to their widest cell; the last one is free."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """A text from outside with its control characters written out, so that it cannot command the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() or not _commands(c) else _written_out(c) for c in text)


def _commands(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or character in DIRECTIONS


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode()


def say(text: str) -> None:
    """Writes a line for the user, not for the next program, to standard error.

    Passwords in URLs are masked, and suggested commands repeat the storage path.
    """
    print(redact(completed(text)), file=sys.stderr)
