"""Separate PID, network and IPC namespaces for a program, which end with it.

    this process    waits for the program, ends the namespace, and ends as the program ended
    `init`          process 1 of the namespace; when it ends, the kernel kills every process inside
    the program     process 2

`init` ends when the waiting process ends for any reason: it reads from a pipe that only that process holds, and
the kernel kills it (PR_SET_PDEATHSIG). So the death of the caller reaches the program, however it forks or detaches.
Processes outside have no number inside that could be signalled, and all network interfaces inside are down.

A user namespace makes this possible without being root. Containers and some distributions refuse it; then the
program runs in the waiting process itself, and system calls and Landlock alone protect the others.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` takes 3 ms to load
import ctypes
import os

_NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NETWORK = 0x08000000, 0x10000000, 0x20000000, 0x40000000
_SET_PARENT_DEATH_SIGNAL = 1


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when the thread that started it ends; ends now if that has happened already."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, _signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def enter_namespaces(report: int) -> bool:
    """Returns true in a new process that is alone in its namespaces, or false in this one if the system refuses.

    Only the new process keeps the descriptor `report`. In the first case the caller's process never returns from here.
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
    """Whether the next processes that this one starts are in new namespaces."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    inner = _NEW_PID | _NEW_IPC | _NEW_NETWORK
    if libc.unshare(_NEW_USER | inner) != 0:
        return bool(libc.unshare(inner) == 0)  # root where user namespaces are switched off
    for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY)
            os.write(descriptor, text.encode())
            os.close(descriptor)
        except OSError:  # the numbers inside are then those of `nobody`
            break
    return True


def _be_init(pipe: int) -> None:
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, _signal.SIGKILL, 0, 0, 0)
    os.read(pipe, 1)  # until the waiting process is gone
    os._exit(0)


def _supervise(init: int, program: int) -> None:
    """Waits for the program, ends all other processes of the namespace, and ends as the program ended."""

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
