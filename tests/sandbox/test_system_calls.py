"""The numbers of the allow-list are those of the kernel's headers, and CPython has all that it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bessemer.sandbox import system_calls
from bessemer.sandbox.run import Program, ProgramLimits, run

X86, GENERIC = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")
RENAMED = {"newfstatat": "fstatat"}
"""Names that differ in the generic header, by their name on x86-64."""


def defined(header: Path) -> dict[str, int]:
    if not header.exists():
        pytest.skip(f"the kernel's headers are not installed ({header})")
    found: dict[str, int] = {}
    for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()):
        found.setdefault(name, int(number))
    return found


@pytest.mark.parametrize(("header", "column"), [(X86, 0), (GENERIC, 1)])
def test_numbers_are_those_of_the_headers(header: Path, column: int) -> None:
    expected = defined(header)
    for table in (system_calls.ALLOWED, system_calls.CHECKED, system_calls.MISSING):
        for name, number in system_calls.numbers(table, column).items():
            assert expected.get(name, expected.get(RENAMED.get(name, name))) == number, name


def test_a_call_that_only_x86_has_is_absent_from_arm() -> None:
    """A number in the wrong column would allow another call."""
    expected = defined(GENERIC)
    for table in (system_calls.ALLOWED, system_calls.CHECKED, system_calls.MISSING):
        both, only = system_calls.numbers(table, 0), system_calls.numbers(table, 1)
        assert not [name for name in both if name not in only and name in expected]


def test_no_call_is_listed_twice() -> None:
    for column in (0, 1):
        tables = [system_calls.numbers(t, column) for t in (system_calls.ALLOWED, system_calls.CHECKED)]
        names = [number for table in tables for number in table.values()]
        assert len(set(names)) == len(names)


USES = {
    "every module of the standard library": """
import importlib, sys, warnings
warnings.simplefilter("ignore")
other = {"antigravity", "this", "idlelib", "turtledemo", "turtle", "tkinter", "test", "msilib", "msvcrt", "nt",
         "winreg", "winsound", "ossaudiodev", "spwd", "nis", "crypt", "lib2to3", "bdb", "pdb"}
for name in sorted(sys.stdlib_module_names - other):
    if not name.startswith("_"):
        importlib.import_module(name)
""",
    "threads": """
import concurrent.futures, multiprocessing.pool, queue, threading
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(abs, range(-100, 1))) == 5050
timer = threading.Timer(0.01, lambda: None)
timer.start(); timer.join()
barrier = threading.Barrier(2)
thread = threading.Thread(target=barrier.wait, name="other")
thread.start(); barrier.wait(); thread.join()
assert not threading.Event().wait(0.01)
""",
    "asyncio": """
import asyncio, signal
async def main():
    await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(5)))
    assert await asyncio.to_thread(sum, [1, 2]) == 3
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, done.set)
    signal.raise_signal(signal.SIGUSR1)
    await done.wait()
asyncio.run(main())
""",
    "files": """
import bz2, csv, fcntl, glob, gzip, lzma, mmap, os, pathlib, shutil, sqlite3, tarfile, tempfile, zipfile
with tempfile.TemporaryDirectory(dir=".") as folder:
    path = pathlib.Path(folder, "a")
    path.write_text("x" * 100_000)
    with path.open("r+b") as file:
        with mmap.mmap(file.fileno(), 0) as mapped:
            mapped[0:1] = b"z"
            mapped.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        file.truncate(10)
        os.fsync(file.fileno())
    assert path.read_text() == "z" + "x" * 9
    shutil.copyfile(path, path.with_name("b"))
    for module in (gzip, bz2, lzma):
        with module.open(path.with_name("c"), "wb") as packed:
            packed.write(b"abc" * 1000)
    with zipfile.ZipFile(path.with_name("z"), "w") as archive:
        archive.write(path, "in")
    with zipfile.ZipFile(path.with_name("z")) as archive:
        archive.extractall(folder)
    with tarfile.open(path.with_name("t"), "w") as archive:
        archive.add(path, "in")
    os.symlink("a", path.with_name("link"))
    assert path.with_name("link").resolve().name == "a"
    os.makedirs(f"{folder}/x/y")
    assert len(list(os.walk(folder))) == 3
    shutil.rmtree(f"{folder}/x")
    with sqlite3.connect(f"{folder}/db") as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table t (a)")
        database.executemany("insert into t values (?)", [(i,) for i in range(100)])
    assert database.execute("select sum(a) from t").fetchone() == (4950,)
    database.close()
    os.replace(path, path.with_name("q"))
    assert sorted(map(os.path.basename, glob.glob(f"{folder}/[q-z]"))) == ["q", "t", "z"]
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"a")
    descriptor = os.open(f"{folder}/f", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.pwrite(descriptor, b"abc", 0)
    os.posix_fallocate(descriptor, 0, 10)
    assert os.pread(descriptor, 3, 0) == b"abc"
    os.close(os.dup(descriptor))
    os.chdir(folder)
""",
    "pipes and sockets": """
import os, select, selectors, socket, sys
r, w = os.pipe()
os.set_blocking(r, False)
os.write(w, b"a")
assert select.select([r], [], [], 1)[0] == [r]
poll = select.poll()
poll.register(r)
assert poll.poll(1)
with select.epoll() as epoll:
    epoll.register(r)
    assert epoll.poll(1)
ours, theirs = socket.socketpair()
ours.settimeout(1)
ours.sendall(b"x")
assert theirs.recv(1) == b"x"
ours.shutdown(socket.SHUT_WR)
assert theirs.recv(1) == b""
assert not sys.stdin.isatty()
""",
    "signals and times": """
import datetime, os, resource, signal, time, zoneinfo
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1)
assert signal.sigtimedwait([signal.SIGUSR1], 1).si_signo == signal.SIGUSR1
assert seen == [1]
time.sleep(0.001)
datetime.datetime.now(zoneinfo.ZoneInfo("Europe/Berlin"))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.times(), os.cpu_count(), os.sched_getaffinity(0), os.getgroups(), os.urandom(3), os.uname(), os.umask(0o22)
""",
    "native code": """
import ctypes, decimal, hashlib, ssl, uuid
assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)(1) == 2
assert hashlib.scrypt(b"a", salt=b"b", n=2, r=1, p=1)
uuid.uuid4()
numbers = [i for i in range(1_000_000)]
""",
}


@pytest.mark.parametrize("text", USES.values(), ids=list(USES))
def test_the_standard_library_has_what_it_needs(text: str) -> None:
    found = run(Program(text), ProgramLimits(cpu_seconds=30, wall_seconds=120))
    assert found.passed, (found.detail, found.stderr)
