"""Shared by the commands: arguments, tables, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bessemer.commands import VARIABLE, default_storage_path, with_storage_path
from bessemer.credentials import redact
from bessemer.terminal import printable, printable_json, printable_line

if TYPE_CHECKING:
    from bessemer.errors import BessemerError

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


def print_text(text: str, *, bold: bool = False, nl: bool = True) -> None:
    """Writes to standard output, with control characters written out."""
    click.secho(printable(text), bold=bold or None, nl=nl)


def print_json(value: Any) -> None:
    click.echo(printable_json(json.dumps(value, indent=2, ensure_ascii=False)))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns padded to their widest cell; the last one is free."""
    cells = [[printable_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def format_setting(value: Any) -> str:
    """A value for a table, rounded to 6 digits."""
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """Writes a line for the user, not for the next program, to standard error.

    Passwords in URLs are masked, control characters are written out, and suggested commands repeat the storage path.
    """
    print(printable(redact(completed(text))), file=sys.stderr)
