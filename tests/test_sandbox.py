"""The sandbox reports how a program ended. A hostile program cannot access or damage anything, and leaves nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psutil
import pytest

from bessemer.sandbox.protection import unprotected
from bessemer.sandbox.run import Program, ProgramLimits, ProgramOutcome, run, run_all

QUICK = ProgramLimits(cpu_seconds=1, wall_seconds=20)
confined = pytest.mark.skipif(bool(unprotected()), reason=f"this machine cannot protect {', '.join(unprotected())}")


def outcome(text: str, stdin: str = "", limits: ProgramLimits = QUICK) -> ProgramOutcome:
    return run(Program(text, stdin), limits)


def test_a_program_reads_prints_and_passes() -> None:
    assert outcome("print(input()[::-1]); assert True", "abc\n") == ProgramOutcome("finished", "", "cba\n", "")


@pytest.mark.parametrize(
    ("text", "status", "detail"),
    [
        ("x = 1\nassert x == 2, 'no'", "error", "AssertionError: no (line 2)"),
        ("def f():\n    g()\n\nf()", "error", "NameError: name 'g' is not defined (line 2)"),
        ("x = (", "error", "SyntaxError: '(' was never closed (line 1)"),
        ("import json\njson.loads('{')", "error", "JSONDecodeError: Expecting property name enclosed in double quotes"),
        ("f = lambda: f()\nf()", "error", "RecursionError"),
        ("x = 'a\0b'", "error", "source code string cannot contain null bytes"),
        ("x = '\ud800'", "error", "UnicodeEncodeError"),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "error", "E (line 3)"),
        ("x = 'a' * 2**33", "memory", "MemoryError"),
        ("while True: pass", "timeout", ""),
        ("import os; os.abort()", "killed", "Aborted"),
    ],
)
def test_a_failure_is_named(text: str, status: str, detail: str) -> None:
    found = outcome(text)
    assert found.status == status
    assert detail in found.detail


def test_time_without_work_is_limited_too() -> None:
    assert outcome("import time; time.sleep(1000)", limits=ProgramLimits(wall_seconds=0.5)).status == "timeout"


@pytest.mark.parametrize(
    "text",
    [
        "import sys; sys.exit(0)",
        "exit()",
        "raise SystemExit",
        "import os; os._exit(0)",
        "import os; os.closerange(0, 100); os._exit(0)",
        "import os\nfor d in range(3, 20):\n    try: os.write(d, b'finished')\n    except OSError: pass\nos._exit(0)",
    ],
)
def test_leaving_before_the_end_is_not_passing(text: str) -> None:
    """A solution that ends the program before its tests run has passed none of them."""
    found = outcome(text + "\nassert False")
    assert found.status == "exited"
    assert not found.passed


def test_closing_standard_output_is_no_failure() -> None:
    assert outcome("import sys; print('a', flush=True); sys.stdout.close()") == ProgramOutcome(
        "finished", "", "a\n", ""
    )


def test_output_before_an_exception_is_kept() -> None:
    assert outcome("print('a'); 1 / 0").stdout == "a\n"


def test_endless_output_ends_and_is_cut() -> None:
    found = outcome("while True: print('x' * 1000)", limits=ProgramLimits(file_bytes=1 << 20, output_bytes=100))
    assert found.status == "error"
    assert found.stdout == "x" * 100


def test_input_longer_than_a_pipe_does_not_block() -> None:
    assert outcome("import sys; print(len(sys.stdin.read()))", "x" * 1_000_000).stdout == "1000000\n"
    assert outcome("pass", "x" * 1_000_000).passed
    assert outcome(f"x = {'a' * 1_000_000!r}").passed


def test_nothing_of_the_environment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    found = outcome("import os; print(os.environ, os.listdir())").stdout
    assert "hunter2" not in found
    assert found.endswith(" []\n")


def test_the_order_of_sets_is_the_same_every_time() -> None:
    text = "print({str(number) for number in range(50)})"
    assert outcome(text) == outcome(text)


def test_the_folder_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Includes trees with locked folders, and trees too deep for recursion."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    deep = "import os\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')"
    for text in ("open('a', 'w').write('x')", "import os; os.makedirs('a/b'); os.mkdir('c', 0)", deep):
        assert outcome(text).passed
        assert list(tmp_path.iterdir()) == []


@confined
@pytest.mark.parametrize(
    "text",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.execv('/bin/true', ['true'])",
        "import multiprocessing; multiprocessing.Process(target=print).start()",
        "import os; os.system('touch x'); assert os.path.exists('x')",
        "import socket; socket.socket()",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:1')",
        "import os; os.kill(os.getppid() or 1, 0)",
        "import os; os.kill(0, 9)",
        "import os; os.killpg(os.getpgid(os.getppid()), 0)",
        "import os, resource; resource.prlimit(os.getppid() or 1, resource.RLIMIT_NOFILE)",
        "import os; os.sched_setaffinity(os.getppid() or 1, {0})",
        "import os; open(f'/proc/{os.getppid() or 1}/environ').read()",
        "open('/etc/passwd').read()",
        "import os; os.listdir('/')",
        "import os; os.listdir('..')",
        "import os; os.symlink('/etc/passwd', 'p'); open('p').read()",
        "import os; os.chmod('/tmp', 0)",
        "open('../x', 'w')",
        "open('/dev/shm/x', 'w')",
        "import os; os.memfd_create('x')",
        "import multiprocessing.shared_memory as s; s.SharedMemory(create=True, size=10)",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    ],
)
def test_what_is_not_the_programs_own_is_refused(text: str) -> None:
    assert outcome(text).status == "error"


@confined
def test_files_of_the_caller_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    found = outcome(f"print(open({str(tmp_path / 'secret')!r}).read())")
    assert found.status == "error"
    assert "hunter2" not in found.stdout + found.stderr + found.detail


def test_a_program_has_the_standard_library_threads_and_its_folder() -> None:
    found = outcome("""
import asyncio, ctypes, dataclasses, decimal, json, sqlite3, ssl, threading, zoneinfo
@dataclasses.dataclass
class A:
    x: int
thread = threading.Thread(target=lambda: print(A(1)))
thread.start()
thread.join()
async def answer():
    await asyncio.sleep(0.001)
    return 3
print(asyncio.run(answer()))
with open("file", "w") as file:
    file.write("text")
print(open("file").read(), __name__)
""")
    assert found == ProgramOutcome("finished", "", "A(x=1)\n3\ntext __main__\n", "")


def test_programs_run_side_by_side_and_answer_in_order() -> None:
    programs = [Program(f"print({number})") for number in range(12)]
    assert [found.stdout for found in run_all(programs, num_workers=4)] == [f"{number}\n" for number in range(12)]
    assert run_all([]) == []


def test_no_process_is_left() -> None:
    before = set(psutil.Process().children(recursive=True))
    outcome("import time; time.sleep(1000)", limits=ProgramLimits(wall_seconds=0.3))
    assert set(psutil.Process().children(recursive=True)) <= before
