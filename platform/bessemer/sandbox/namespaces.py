"""Runs a program in separate PID, network and IPC namespaces, which end with it.

    this process    waits for the program, ends the namespaces, and exits with the program's status
    `init`          process 1 of the namespace; when it ends, the kernel kills every process inside
    the program     process 2

`init` ends when the waiting process ends for any reason: it reads from a pipe that only the waiting process holds open,
and the kernel also kills it (PR_SET_PDEATHSIG). So the program ends with its caller, even if it forks or detaches.
Processes outside have no process number inside, so the program cannot signal them. All network interfaces inside are
down.

A user namespace makes this possible without root. Containers and some distributions refuse user namespaces. Then the
program runs in the waiting process itself, and only seccomp and Landlock protect the other processes.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` takes 3 ms to load
import ctypes
import os

_NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NETWORK = 0x08000000, 0x10000000, 0x20000000, 0x40000000
_SET_PARENT_DEATH_SIGNAL = 1


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when the thread that started it ends. Exits if that thread is gone."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, _signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def enter_namespaces(report: int) -> bool:
    """Returns true in a new process that is alone in its namespaces, or false in this process if the system refuses.

    If it returns true, only the new process keeps the descriptor `report`, and this process never returns.
    """
    if not _unshare():
        return False
    theirs, ours = os.pipe()
    init = os.fork()
    if init == 0:
        os.closerange(0, theirs)
        os.closerange(theirs + 1, max(ours, report) + 1)
        _be_init(theirs)
    program = os.fork()
    if program == 0:
        os.close(theirs)
        os.close(ours)
        return True
    os.close(theirs)
    os.close(report)
    _supervise(init, program)
    return True  # never reached


def _unshare() -> bool:
    """Puts the next processes that this one starts into new namespaces. Returns false if the system refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    inner = _NEW_PID | _NEW_IPC | _NEW_NETWORK
    if libc.unshare(_NEW_USER | inner) != 0:
        return bool(libc.unshare(inner) == 0)  # root, if user namespaces are switched off
    for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY)
            os.write(descriptor, text.encode())
            os.close(descriptor)
        except OSError:  # user and group are then `nobody` inside
            break
    return True


def _be_init(pipe: int) -> None:
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, _signal.SIGKILL, 0, 0, 0)
    os.read(pipe, 1)  # returns when the waiting process has ended
    os._exit(0)


def _supervise(init: int, program: int) -> None:
    """Waits for the program, ends all other processes of the namespace, and exits with the program's status."""

    def end(number: int, frame: object) -> None:
        os.kill(init, _signal.SIGKILL)

    _signal.signal(_signal.SIGTERM, end)
    _, status = os.waitpid(program, 0)
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)  # `init` may be gone from here on
    os.kill(init, _signal.SIGKILL)
    os.waitpid(init, 0)  # returns when no process is left inside
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != _signal.SIGKILL:
            _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))
