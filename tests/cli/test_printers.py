"""Every printer of the commands escapes control characters: no module prints past the few functions that do."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bessemer import cli
from bessemer.errors import BessemerError
from bessemer.runner.display import Display, LiveDisplay
from bessemer.storage import LogFile

PACKAGE = Path(cli.__file__).parents[1]
PRINTERS = {"print", "echo", "secho", "write", "writelines", "confirm", "prompt", "pager", "print_exc"}
ESCAPED = {
    ("cli/__init__.py", "main"): "errors, by `printable`",
    ("cli/__init__.py", "_show_defect"): "by `printable`",
    ("cli/common.py", "print_text"): "by `printable`",
    ("cli/common.py", "print_json"): "by `printable_json`",
    ("cli/common.py", "print_table"): "cells, by `printable_line`",
    ("cli/common.py", "say"): "by `printable`",
    ("cli/models.py", "_write"): "by `printable` on a terminal",
    ("cli/models.py", "generate"): "a line feed",
    ("cli/models.py", "_messages"): "a line feed",
    ("cli/models.py", "_answer"): "a line feed",
    ("cli/runs.py", "gc"): "a question with names of runs, which hold letters, digits and dashes",
    ("runner/display.py", "say"): "by `printable`",
}
HOSTILE = "\x1b]52;c;cm0gLXJm\x07 \x9b31m \u202egnp.exe\u2066 \x7f\r"
FORBIDDEN = set("\x1b\x07\x9b\u202e\u2066\x7f\r")


def functions_that_print(path: Path) -> Iterator[str]:
    """The functions of a module that call a printer. Any call of a method `write` counts, also of a file on disk."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            for call in ast.walk(node):
                if isinstance(call, ast.Call):
                    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                    if name in PRINTERS and not ast.unparse(call.func).startswith(("manifest.", "storage.")):
                        yield node.name


def test_only_functions_that_escape_print() -> None:
    files = [*PACKAGE.glob("cli/*.py"), PACKAGE / "runner/display.py", PACKAGE / "runner/sweep.py"]
    files += [PACKAGE / "runner/run.py", PACKAGE / "runner/tune.py", PACKAGE / "tracking/mirror.py"]
    found = {(path.relative_to(PACKAGE).as_posix(), name) for path in files for name in functions_that_print(path)}
    assert found == set(ESCAPED)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on hostile documents; one is kept, one is removed, and one file cannot be read."""
    folder = tmp_path_factory.mktemp("hostile")
    documents = folder / "documents"
    documents.mkdir()
    rows = [
        {"text": f"{HOSTILE} A sentence about foxes.", "url": f"http://a.test/{HOSTILE}", "source": HOSTILE},
        {"text": "", "url": f"http://b.test/{HOSTILE}", "source": HOSTILE},
    ]
    (documents / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (documents / "\x1b[31mred.pdf").write_bytes(b"%PDF-\x1b[31m")
    (documents / os.fsdecode(b"caf\xe9.txt")).write_text("A text in a file whose name is Latin-1.")
    (folder / "recipe.yaml").write_text(
        "name: hostile\nnum_workers: 0\ntracking: {register_model: false}\nstages:\n  ingest: {paths: [documents]}\n"
    )
    return folder


COMMANDS = [
    ["run", "recipe.yaml"],
    ["plan", "recipe.yaml"],
    ["runs"],
    ["status"],
    ["logs"],
    ["show", "@last", "ingest", "--full"],
    ["show", "@last", "ingest", "--json"],
    ["show", "@last", "ingest", "--dropped"],
    ["explain", f"http://a.test/{HOSTILE}"],
    ["explain", f"http://a.test/{HOSTILE}", "--json"],
    ["explain", f"http://nowhere.test/{HOSTILE}"],
    ["status", HOSTILE],
    ["show", "@last", HOSTILE],
    ["run", f"{HOSTILE}.yaml"],
    ["run", "recipe.yaml", f"ingest.{HOSTILE}=1"],
    ["run", "recipe.yaml", f"ingest.paths=[{HOSTILE!r}]"],
    ["generate", HOSTILE, "prompt"],
    ["gc"],
    ["describe", HOSTILE],
    [HOSTILE],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments)[:30].encode("unicode_escape"))
def test_no_command_prints_a_control_character(
    home: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setattr("sys.argv", ["bessemer", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    out, err = capsys.readouterr()
    assert out or err
    (out + err).encode()
    assert not FORBIDDEN & set(out + err)


def test_logs_and_reports_hold_no_control_character(home: Path) -> None:
    written = [*home.glob("runs/*/logs/*.txt"), *home.glob("runs/*/report.html")]
    assert len(written) >= 2
    for path in written:
        assert not FORBIDDEN & set(path.read_text())


def test_progress_and_log_files_escape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    for display in (Display(["ingest"]), LiveDisplay(["ingest"])):
        display.started("ingest", HOSTILE)
        display.progress("ingest", 1, 2, HOSTILE, {HOSTILE: HOSTILE})
        display.say(HOSTILE)
    from rich.console import Console

    console = Console(file=(tmp_path / "table.txt").open("w"), width=200, force_terminal=False)
    console.print(display._table())
    console.file.close()
    handler = LogFile(tmp_path / "log.txt")
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "%s", (HOSTILE,), None))
    handler.close()
    shown = capsys.readouterr().err + (tmp_path / "table.txt").read_text() + (tmp_path / "log.txt").read_text()
    assert "\\x1b]52" in shown
    assert not FORBIDDEN & set(shown)


def test_an_error_is_escaped_where_it_is_shown() -> None:
    """The error itself keeps the text, for programs that read it."""
    assert BessemerError(HOSTILE).message == HOSTILE
