"""The command line. Groups of commands are imported when they are used, so `bessemer --help` is quick."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from importlib import import_module
from types import TracebackType
from typing import Any, NoReturn

import click

from bessemer import __version__, environment
from bessemer.errors import BessemerError
from bessemer.terminal import printable

COMMANDS = {
    "init": ("recipes", "Copy a recipe to edit."),
    "plan": ("recipes", "Show the stages that would run or be reused, with the reasons."),
    "run": ("recipes", "Run a recipe; the same command again resumes."),
    "submit": ("submitting", "Run a recipe as a job on a Ray cluster."),
    "sweep": ("submitting", "Search fields of a recipe with Ray Tune."),
    "runs": ("runs", "List the runs."),
    "status": ("runs", "Show how far a run is."),
    "logs": ("runs", "Show the logs of a run."),
    "stop": ("runs", "Ask a run to stop; the same command continues it."),
    "report": ("runs", "Write the HTML report of a run."),
    "gc": ("runs", "List the artifacts that can be deleted, and delete them."),
    "show": ("data", "Look at the documents of a stage, kept or dropped."),
    "explain": ("data", "List the verdict of every stage on one document."),
    "trace": ("data", "Name the documents of a training step, or the steps of a document."),
    "chat": ("models", "Talk with a model that was trained to answer."),
    "generate": ("models", "Continue a prompt with a model."),
    "describe": ("settings", "Print the settings of a stage: type, default, meaning."),
    "schema": ("settings", "Print the JSON schema of recipes, for editors."),
    "ui": ("tools", "Open MLflow on the right store."),
    "doctor": ("tools", "Check versions, disk, Ray, MLflow and accelerators."),
}


class LazyGroup(click.Group):
    """Looks up a command's module when the command is called; `--help` needs only the table above."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = getattr(import_module(f"bessemer.cli.{COMMANDS[name][0]}"), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BessemerError as error:
            from bessemer.cli.common import completed

            error.hint = completed(error.hint)
            raise

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as error:
            from bessemer.recipe.problems import nearest

            raise click.UsageError(f"{error.message.rstrip('.')}; {nearest(arguments[0], COMMANDS)}", context) from None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def bessemer() -> None:
    """Raw text in, a trained, evaluated and served language model out.

    Begin with `bessemer plan pipelines/quickstart/recipe.yaml`.
    """


def main() -> None:
    """The console script. Exit codes: 0 done, 1 failed, 2 bad recipe or usage, 3 unreachable, 130 interrupted."""
    environment.prepare()
    sys.excepthook = _show_defect
    try:
        sys.exit(bessemer.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        print(printable(shown.getvalue()), end="", file=sys.stderr)
        sys.exit(2)
    except BessemerError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        if error.abrupt:
            _leave(error.exit_code)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        print("error: interrupted\n\nhint: run the same command again to continue", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


def _show_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints the traceback of an error that no class of ours covers."""
    print(printable("".join(traceback.format_exception(error))), end="", file=sys.stderr)


def _leave(exit_code: int) -> NoReturn:
    """Ends the process without waiting for threads and libraries."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
