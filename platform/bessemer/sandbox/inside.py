"""The inside of the sandbox: gives up all rights that a program must not have, runs it, and reports how it ended.

The module is loaded before every program, so it imports very little. It receives the request over a socket and sends
the report back over the same socket. The report includes the request's secret, which the program does not receive.
"""

from __future__ import annotations

import builtins
import marshal
import os
import resource
import sys
from types import ModuleType

if sys.platform == "linux":
    from bessemer.sandbox import confine, namespaces, system_calls

PROGRAM = "program.py"
"""The name of the program in its tracebacks."""
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def main(socket: int, caller: int) -> None:
    """Runs one request of process `caller`: (secret, cpu_seconds, memory_bytes, file_bytes, open_files, program)."""
    if sys.platform == "linux":
        namespaces.die_with_parent(caller)
    request = b"".join(iter(lambda: os.read(socket, 1 << 16), b""))
    secret, cpu_seconds, memory_bytes, file_bytes, open_files, program = marshal.loads(request)
    _limit(resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1)  # a signal at the first limit, a kill at the second
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_NOFILE, open_files)
    _limit(resource.RLIMIT_CORE, 0)
    barriers = " ".join(_confine(socket))
    for name in [name for name in sys.modules if name.startswith("bessemer")]:
        del sys.modules[name]
    write, leave = os.write, os._exit  # saved before the program can replace them
    status, detail = _run(program)
    _flush()
    write(socket, "\0".join((secret, status, barriers, detail)).encode(errors="replace"))
    leave(0)


def _confine(socket: int) -> list[str]:
    """Raises every barrier that the system supports and returns the names of those that hold."""
    if sys.platform != "linux":
        _limit(resource.RLIMIT_NPROC, 0)
        return []
    barriers = ["namespaces"] if namespaces.enter_namespaces(socket) else []
    own = (f"{sys.base_prefix}/lib", f"{sys.base_prefix}/{sys.platlibdir}")
    if version := confine.give_up_files([*own, *_LIBRARIES, *_DEVICES], [os.curdir, "/dev/null"]):
        barriers.append(f"landlock:{version}")
    confine.give_up_capabilities()
    if system_calls.give_up_calls():
        barriers.append("seccomp")
    else:
        _limit(resource.RLIMIT_NPROC, 0)
    return barriers


def _limit(what: int, soft: int, hard: int | None = None) -> None:
    """Lowers a limit permanently, unless it is already lower."""
    _, highest = resource.getrlimit(what)
    wanted = soft if hard is None else hard
    hard = wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)
    try:
        resource.setrlimit(what, (min(soft, hard), hard))
    except (OSError, ValueError):  # macOS has no limit on address space
        return


def _run(program: str) -> tuple[str, str]:
    """How the program ended, and the last line of its traceback."""
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = [PROGRAM]
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # as `site` does
    try:
        exec(compile(program, PROGRAM, "exec", dont_inherit=True), vars(module))
    except SystemExit as error:
        return "exited", f"SystemExit: {error}"
    except MemoryError:
        return "memory", "MemoryError"
    except BaseException as error:  # noqa: BLE001 the program's exception is its result
        return "error", _last_line(error)
    return "finished", ""


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # the file is full, or the program closed it
            pass


def _last_line(error: BaseException) -> str:
    """The message of an error with the line of the program: `NameError: name 'x' is not defined (line 3)`."""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == PROGRAM else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == PROGRAM:
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        text = str(error.msg if isinstance(error, SyntaxError) else error)
    except BaseException:  # noqa: BLE001 the program's own exceptions may raise
        text = ""
    name = type(error).__name__
    where = "" if line is None else f" (line {line})"
    return (f"{name}: {text}" if text else name).replace("\0", "")[:1000] + where
