"""Programs that try to get out: each is refused, and their targets stay as they were.

They run twice: with every barrier of this machine, and without namespaces, as in a container.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.sandbox import lesser_machine
from tests.sandbox.lesser_machine import run_without

from bessemer.sandbox import system_calls
from bessemer.sandbox.protection import unprotected
from bessemer.sandbox.run import Program, ProgramLimits, run, run_all

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or lesser_machine.COLUMN is None or bool(unprotected()),
    reason="this machine does not have every barrier",
)
LIMITS = ProgramLimits(cpu_seconds=5, wall_seconds=60)
NUMBERS = {
    "setxattrat": (463, 463), "file_setattr": (469, 469), "fchmodat2": (452, 452), "utimensat": (280, 88),
    "setxattr": (188, 5), "fchownat": (260, 54), "io_uring_setup": (425, 425), "process_vm_writev": (311, 271),
    "process_vm_readv": (310, 270), "process_madvise": (440, 440), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "ptrace": (101, 117), "execve": (59, 221),
    "execveat": (322, 281), "memfd_create": (319, 279), "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186),
    "mq_open": (240, 180), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "unshare": (272, 97), "setns": (308, 268), "clone": (56, 220), "clone3": (435, 435), "setsid": (112, 157),
    "setpgid": (109, 154), "link": (265, 37), "mknodat": (259, 33), "mount": (165, 40), "open_tree": (428, 428),
    "open_by_handle_at": (304, 265), "openat2": (437, 437), "bpf": (321, 280), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "inotify_init1": (294, 26), "fanotify_init": (300, 262), "socket": (41, 198),
    "connect": (42, 203), "sendmsg": (46, 211), "setsockopt": (54, 208), "truncate": (76, 45), "kill": (62, 129),
    "prctl": (157, 167),
    "prlimit64": (302, 261), "sched_setaffinity": (203, 122), "setpriority": (141, 140), "timer_create": (222, 107),
    "landlock_restrict_self": (446, 446), "seccomp": (317, 277), "personality": (135, 92), "setuid": (105, 146),
}  # fmt: skip
START = """
import ctypes, errno, fcntl, os, socket, struct
VICTIM, FILE = {victim!r}, {file!r}
NUMBERS = {numbers!r}
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(NUMBERS[name] if isinstance(name, str) else name), *wide)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def refused(*arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    raise SystemExit(f"{{arguments}} was allowed")
"""
ATTACKS = {
    # signals through the owner of a descriptor
    "F_SETOWN": """
r, w = os.pipe()
fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
try:
    fcntl.fcntl(r, 10, 9)
finally:
    fcntl.fcntl(r, fcntl.F_SETOWN, VICTIM)
    os.write(w, b"x")
""",
    "F_SETSIG": "fcntl.fcntl(os.pipe()[0], 10, 9)",
    "F_SETOWN_EX": "fcntl.fcntl(os.pipe()[0], 15, struct.pack('ii', 1, VICTIM))",
    "F_SETOWN of a process group": "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, -VICTIM)",
    "F_NOTIFY": "fcntl.fcntl(os.open('.', os.O_RDONLY), 1026, 1)",
    "F_SETLEASE": "fcntl.fcntl(os.open('own', os.O_RDWR | os.O_CREAT), 1024, 1)",
    "FIOSETOWN": "fcntl.ioctl(socket.socketpair()[0], 0x8901, struct.pack('i', VICTIM))",
    "SIOCSPGRP": "fcntl.ioctl(socket.socketpair()[0], 0x8902, struct.pack('i', VICTIM))",
    "TIOCSTI": "fcntl.ioctl(0, 0x5412, b'x')",
    # signals and control
    "kill": "os.kill(VICTIM, 9)",
    "kill every process": "os.kill(-1, 9)",
    "kill the group": "os.kill(0, 9)",
    "kill process 1": "os.kill(1, 9)",
    "kill with high bits": "call('kill', (1 << 32) | VICTIM, 9)",
    "tkill": "call('tkill', VICTIM, 9)",
    "tgkill": "call('tgkill', VICTIM, VICTIM, 9)",
    "rt_sigqueueinfo": "call('rt_sigqueueinfo', VICTIM, 9, bytes(128))",
    "rt_tgsigqueueinfo": "call('rt_tgsigqueueinfo', VICTIM, VICTIM, 9, bytes(128))",
    "pidfd": "call('pidfd_send_signal', call('pidfd_open', VICTIM, 0), 9, None, 0)",
    "pidfd of the peer": "call('pidfd_send_signal', "
    "struct.unpack('i', socket.socketpair()[0].getsockopt(socket.SOL_SOCKET, 77, 4))[0], 0, None, 0)",
    "pidfd_getfd": "call('pidfd_getfd', 3, 0, 0)",
    "timer for a thread": "call('timer_create', 0, bytes(64), bytes(8))",
    "ptrace": "call('ptrace', 16, VICTIM, 0, 0)",
    "ptrace seize": "call('ptrace', 0x4206, VICTIM, 0, 0)",
    "process_vm_readv": "call('process_vm_readv', VICTIM, bytes(16), 1, bytes(16), 1, 0)",
    "process_vm_writev": "call('process_vm_writev', VICTIM, bytes(16), 1, bytes(16), 1, 0)",
    "process_madvise": "call('process_madvise', 3, bytes(16), 1, 4, 0)",
    "prlimit64": "call('prlimit64', VICTIM, 7, struct.pack('QQ', 0, 0), None)",
    "sched_setaffinity": "call('sched_setaffinity', VICTIM, 8, struct.pack('Q', 1))",
    "setpriority": "call('setpriority', 0, VICTIM, 19)",
    "PR_SET_PDEATHSIG": "call('prctl', 1, 0, 0, 0, 0)",
    "PR_SET_CHILD_SUBREAPER": "call('prctl', 36, 1, 0, 0, 0)",
    "PR_SET_DUMPABLE": "call('prctl', 4, 1, 0, 0, 0)",
    # processes
    "fork": "os.fork()",
    "double fork": "if os.fork() == 0: os.setsid(); os.fork()",
    "vfork": "import subprocess; subprocess.Popen(['/bin/sleep', '9'], start_new_session=True)",
    "clone": "call('clone', 17, 0, 0, 0, 0)",
    "clone without CLONE_THREAD": "call('clone', 0x3D0F00 & ~0x10000, 0, 0, 0, 0)",
    "clone with CLONE_NEWUSER": "call('clone', 0x10000000 | 17, 0, 0, 0, 0)",
    "clone of a thread with CLONE_PARENT": "call('clone', 0x3D0F00 | 0x8000, 0, 0, 0, 0)",
    "clone3": "call('clone3', struct.pack('8Q', 0, 0, 0, 0, 17, 0, 0, 0), 64)",
    "setsid": "call('setsid')",
    "setpgid": "call('setpgid', 0, 0)",
    "execve": "os.execv('/bin/true', ['true'])",
    "memfd and execveat": """
descriptor = call('memfd_create', b'x', 0)
os.write(descriptor, b'#!/bin/sh')
call('execveat', descriptor, b'', None, None, 0x1000)
""",
    "execveat": "call('execveat', os.open('/lib', os.O_PATH), b'', None, None, 0x1000)",
    "unshare": "call('unshare', 0x10000000)",
    "setns": "call('setns', 0, 0)",
    "setuid": "call('setuid', 0)",
    "personality": "call('personality', 0x0040000)",
    # memory, messages and keys that outlive or are shared
    "shared memory": "open('/dev/shm/bessemer-escape', 'w')",
    "shared memory by name": "import multiprocessing.shared_memory as s; s.SharedMemory(create=True, size=10)",
    "shmget": "call('shmget', 0, 4096, 0o1666)",
    "semget": "call('semget', 0, 1, 0o1666)",
    "msgget": "call('msgget', 0, 0o1666)",
    "mq_open": "call('mq_open', b'bessemer', 0o102, 0o666, None)",
    "add_key": "call('add_key', b'user', b'bessemer', b'x', 1, -3)",
    "request_key": "call('request_key', b'user', b'bessemer', None, -3)",
    "keyctl": "call('keyctl', 0, -3, 1, 0, 0)",
    # files outside
    "read": "open(FILE).read()",
    "write": "open(FILE, 'a')",
    "truncate": "os.truncate(FILE, 0)",
    "truncate on opening to read": "os.open(FILE, os.O_RDONLY | os.O_TRUNC)",
    "truncate a library on opening to read": "os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)",
    "access mode 3": "os.open(FILE, 3)",
    "access mode 3 and truncate": "os.open(os.__file__, 3 | os.O_TRUNC)",
    "write a library": "os.open(os.__file__, os.O_WRONLY)",
    "chmod": "os.chmod(FILE, 0)",
    "fchmod of a library": "os.fchmod(os.open(os.__file__, os.O_RDONLY), 0o777)",
    "fchmodat2": "call('fchmodat2', -100, FILE.encode(), 0, 0)",
    "chown": "call('fchownat', -100, FILE.encode(), os.getuid(), os.getgid(), 0)",
    "utime": "os.utime(FILE, (1, 1))",
    "utime of a library": "os.utime(os.open(os.__file__, os.O_RDONLY), (1, 1))",
    "setxattr": "os.setxattr(FILE, 'user.x', b'x')",
    "setxattrat": "call('setxattrat', -100, FILE.encode(), 0, b'user.x', bytes(24), 24)",
    "file_setattr": "call('file_setattr', -100, FILE.encode(), bytes(24), 24, 0)",
    "FS_IOC_SETFLAGS": "fcntl.ioctl(os.open(os.__file__, os.O_RDONLY), 0x40086602, struct.pack('l', 0x10))",
    "unlink": "os.unlink(FILE)",
    "rename out": "open('own', 'w'); os.rename('own', FILE)",
    "rename in": "os.rename(FILE, 'own')",
    "mkdir": "os.mkdir(FILE + '-folder')",
    "symbolic link": "os.symlink(FILE, 'own'); open('own').read()",
    "symbolic link to a folder": "os.symlink(os.path.dirname(FILE), 'own'); open('own/file').read()",
    "symbolic link to write": "os.symlink(FILE, 'own'); open('own', 'w')",
    "hard link": "os.link(FILE, 'own'); open('own').read()",
    "hard link of a library": "call('link', -100, os.__file__.encode(), -100, b'own', 0)",
    "O_PATH": "os.open('file', os.O_RDONLY, dir_fd=os.open(os.path.dirname(FILE), os.O_PATH))",
    "O_PATH by /proc": "open(f'/proc/self/fd/{os.open(FILE, os.O_PATH)}').read()",
    "/proc/self/root": "open('/proc/self/root' + FILE).read()",
    "/proc/self/cwd": "open('/proc/self/cwd/' + os.path.relpath(FILE)).read()",
    "/proc/self/fd/1": "open('/proc/self/fd/1', 'r').read()",
    "/proc/self/mem": "open('/proc/self/mem', 'r+b')",
    "/proc/self/environ": "open('/proc/self/environ').read()",
    "/proc of the victim": "open(f'/proc/{VICTIM}/cmdline').read()",
    "/proc/sys": "open('/proc/sys/kernel/hostname').read()",
    "chdir and read": "os.chdir(os.path.dirname(FILE)); open('file').read()",
    "openat2": "call('openat2', -100, FILE.encode(), bytes(24), 24)",
    "open_by_handle_at": "call('open_by_handle_at', -100, bytes(128), 0)",
    "open_tree": "call('open_tree', -100, FILE.encode(), 1)",
    "mknod": "call('mknodat', -100, b'own', 0o60600, 0x800)",
    "mount": "call('mount', b'none', b'.', b'tmpfs', 0, None)",
    "chroot": "os.chroot('.')",
    # the network
    "socket": "socket.socket()",
    "socket by number": "call('socket', 1, 1, 0)",
    "packet socket": "call('socket', 17, 3, 0)",
    "netlink": "call('socket', 16, 3, 0)",
    "pair of datagram sockets": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "pair of sequenced sockets": "socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)",
    "connect": "socket.socketpair()[0].connect('\\0bessemer')",
    "bind": "socket.socketpair()[0].bind('own')",
    "sendto an address": "socket.socketpair()[0].sendto(b'x', '\\0bessemer')",
    "sendmsg with descriptors": "socket.send_fds(socket.socketpair()[0], [b'x'], [0])",
    "a filter on a socket": "call('setsockopt', socket.socketpair()[0].fileno(), 1, 26, bytes(16), 16)",
    # doors into the kernel
    "io_uring_setup": "call('io_uring_setup', 8, bytes(120))",
    "bpf": "call('bpf', 0, bytes(128), 128)",
    "userfaultfd": "call('userfaultfd', 1)",
    "perf_event_open": "call('perf_event_open', bytes(136), 0, -1, -1, 0)",
    "inotify": "call('inotify_init1', 0)",
    "fanotify": "call('fanotify_init', 0, 0)",
    "seccomp": "call('seccomp', 0, 0, 0)",
    "limits": "call('prlimit64', 0, 0, struct.pack('QQ', 1 << 40, 1 << 40), None)",
    "in a thread": """
import threading
codes = []
def attack():
    codes.append([refused('kill', VICTIM, 9), refused('socket', 2, 1, 0), refused('clone', 17, 0, 0, 0, 0)])
thread = threading.Thread(target=attack)
thread.start()
thread.join()
assert codes == [[1, 1, 1]], codes
raise PermissionError(1, 'refused')
""",
}  # fmt: skip


class Target:
    """A process and a file that belong to the same user and lie outside the sandbox."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "file"
        self.file.write_text("hunter2")
        self.process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        self._before = self._state()

    def program(self, attack: str) -> str:
        machine = {name: numbers[lesser_machine.COLUMN or 0] for name, numbers in NUMBERS.items()}
        return START.format(victim=self.process.pid, file=str(self.file), numbers=machine) + attack

    def check(self) -> None:
        """Fails if the process was harmed or the file changed."""
        assert self.process.poll() is None
        assert psutil.Process(self.process.pid).status() == psutil.STATUS_SLEEPING
        assert self._state() == self._before

    def _state(self) -> tuple[object, ...]:
        found, library = self.file.stat(), Path(os.__file__).stat()
        facts = [(s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_nlink, s.st_uid) for s in (found, library)]
        return (*facts, os.listxattr(self.file), sorted(self.file.parent.iterdir()))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    folder = tmp_path / "outside"
    folder.mkdir()
    made = Target(folder)
    yield made
    made.process.kill()
    made.process.wait()


def test_every_attack_is_refused(target: Target) -> None:
    outcomes = run_all([Program(target.program(attack)) for attack in ATTACKS.values()], LIMITS)
    check_refused([(found.status, found.detail, found.stdout) for found in outcomes])
    target.check()


def test_every_attack_is_refused_without_namespaces(target: Target, tmp_path: Path) -> None:
    programs = tmp_path / "programs.json"
    programs.write_text(json.dumps([target.program(attack) for attack in ATTACKS.values()]))
    printed = run_without(
        ["namespaces"],
        f"""
import json, pathlib
from bessemer.sandbox.run import ProgramLimits, Program, run_all
texts = json.loads(pathlib.Path({str(programs)!r}).read_text())
found = run_all([Program(text) for text in texts], ProgramLimits(cpu_seconds=5, wall_seconds=60))
print(json.dumps([(one.status, one.detail, one.stdout) for one in found]))
""",
    )
    check_refused([tuple(row) for row in json.loads(printed)])
    target.check()


def check_refused(outcomes: list[tuple[str, str, str]]) -> None:
    """Each attack ended in a refusal of the operating system, not in a mistake of the attack."""
    refusals = [f"[Errno {number}]" for number in (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EXDEV)]
    odd = {
        name: outcome
        for name, outcome in zip(ATTACKS, outcomes, strict=True)
        if outcome[0] != "error" or outcome[2] or not any(refusal in outcome[1] for refusal in refusals)
    }
    assert not odd


def test_every_system_call_that_is_not_listed_is_refused() -> None:
    """By number, on both sides of the highest that is known, and with the bit of the x32 calls."""
    column = lesser_machine.COLUMN or 0
    listed = {
        number
        for table in (system_calls.ALLOWED, system_calls.CHECKED)
        for number in system_calls.numbers(table, column).values()
    }
    listed |= {335, 336}  # `uretprobe` and `uprobe` of x86-64: the kernel exempts them and answers with SIGILL
    others = [number for number in range(1200) if number not in listed]
    others += [0x40000000 | number for number in range(600)]
    text = START.format(victim=0, file="", numbers={}) + f"print({{refused(n, 0, 0, 0, 0, 0, 0) for n in {others}}})"
    found = run(Program(text), LIMITS)
    assert (found.status, found.stdout) == ("finished", "{1, 38}\n"), found


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the instruction is one of x86-64")
def test_a_system_call_of_another_architecture_kills() -> None:
    text = """
import ctypes, mmap
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
"""
    assert run(Program(text), LIMITS).status == "killed"


@pytest.mark.parametrize(
    "text",
    [
        "import signal, time\n"
        "for n in set(signal.Signals) - {9, 19}: signal.signal(n, signal.SIG_IGN)\n"
        "time.sleep(900)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        "import threading, time\nfor _ in range(9): threading.Thread(target=time.sleep, args=(900,)).start()\n",
        "import os, time; os.closerange(0, 64); time.sleep(900)",
    ],
)
def test_what_cannot_be_asked_to_end_is_ended(text: str) -> None:
    began = time.monotonic()
    assert run(Program(text), ProgramLimits(wall_seconds=1.5)).status in ("timeout", "exited", "finished")
    assert time.monotonic() - began < 30
    assert not [child for child in psutil.Process().children(recursive=True) if "inside" in " ".join(child.cmdline())]


DETACHES = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(900)
    os._exit(0)
"""


def test_a_namespace_ends_processes_that_detach() -> None:
    """Without seccomp a program can fork and detach; the processes that it started end with it nevertheless."""
    printed = run_without(
        ["seccomp"],
        f"""
import ctypes, psutil
from bessemer.sandbox.run import Program, run_with_barriers
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans become children of this process
outcome, barriers = run_with_barriers(Program({DETACHES!r}))
print(outcome.status, "namespaces" in barriers, psutil.Process().children(recursive=True))
""",
    )
    if "finished False" in printed:
        pytest.skip("this machine refuses namespaces")
    assert printed == "finished True []\n"


@pytest.mark.parametrize("lost", [[], ["namespaces"]])
def test_a_program_ends_with_its_caller(lost: list[str], tmp_path: Path) -> None:
    """SIGKILL of the caller, while a program ignores every signal that it can."""
    text = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(900)"
    code = f"""
import os, signal, threading, time
from bessemer.sandbox.run import ProgramLimits, Program, run
threading.Thread(target=run, args=(Program({text!r}), ProgramLimits(wall_seconds=900))).start()
time.sleep(3)
import psutil
print([child.pid for child in psutil.Process().children(recursive=True)], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import lesser_machine"
    start += f"; lesser_machine.lose({lost!r})\n"
    ended = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, timeout=120)
    numbers = json.loads(ended.stdout)
    assert ended.returncode == -signal.SIGKILL
    assert numbers, "the program did not start in time"
    deadline = time.monotonic() + 5
    while alive := [number for number in numbers if runs(number)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def runs(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
