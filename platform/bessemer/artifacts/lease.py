"""One writer per artifact and per run.

The writer of a folder holds its lease, a numbered file `lease-000007.json`. The file with the highest number counts.
To take a lease that is free, or whose holder is dead, a process creates the file with the next number, and only one of
several succeeds. So a process never deletes another's lease, and cannot delete the wrong one by mistake. On an object
store one operation is enough: create an object unless it exists.

A living holder increments a counter in its file (`beats`). A process with the same boot id and the same PID namespace
looks up the holder's process id and start time instead. It takes over immediately from a dead process, and never from a
living one. Any other process takes over after it has seen the same count for `SILENCE_SECONDS` on its own monotonic
clock. The protocol uses no other machine's clock and no time of day. The first observation is stored in the user's
cache, so short commands also notice a silent holder.

A silent holder may still be alive, for example if it is suspended or disconnected. The next holder therefore voids its
fence (`fences`) before it starts, and the former holder can no longer publish files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bessemer import fences, storage
from bessemer.errors import StorageError

HEARTBEAT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
_POLL_SECONDS = 1.0
_FILE = re.compile(r"lease-(\d{6,})\.json")
_FENCE = re.compile(r"fence-(\d{6,})-\w+")
_LEFT = re.compile(re.escape(storage.TEMPORARY) + "[0-9a-f]{16}")
"""Lease files that a killed process did not finish."""
_FILE_BYTES = 1024
"""Length of a lease file, padded with spaces, so that a heartbeat overwrites it in one write."""


@dataclass(frozen=True)
class Owner:
    """Identifies a process even after its process id is reused."""

    host: str
    boot: str
    """The kernel's boot id; empty if the system has none."""
    namespace: str
    """The PID and time namespaces in which `pid` and `started` are valid; empty if this process cannot see itself."""
    pid: int
    started: int
    """Start time of the process, in clock ticks since boot."""
    run: str

    @staticmethod
    def current(run: str) -> Owner:
        started = _start_ticks("self")
        return Owner(socket.gethostname(), _boot_id(), _namespace(), os.getpid(), started or 0, run)

    def is_running(self) -> bool | None:
        """Whether the process runs; None if this process cannot determine it."""
        if not self.boot or not self.namespace or (self.boot, self.namespace) != (_boot_id(), _namespace()):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        ticks = _start_ticks(str(self.pid))
        return None if ticks is None else ticks == self.started


UNKNOWN = Owner("an unknown host", "", "", 0, 0, "unknown")
"""The owner of a lease file that cannot be read."""


@dataclass(frozen=True)
class _Held:
    """The lease of a folder at the time it was read."""

    file: Path
    number: int
    content: bytes
    owner: Owner
    free: bool
    token: bytes = b""
    """Identifies the holder: the file contains these bytes until the holder changes. Empty for an unreadable file."""

    def is_there(self) -> bool:
        """Whether the file still belongs to the same holder. The count may be higher."""
        if not self.token:
            return self.file.exists() or self.number in _fence_numbers(self.file.parent)
        try:
            return self.token in self.file.read_bytes()
        except FileNotFoundError:
            return False

    def is_dead(self) -> bool:
        running = self.owner.is_running()
        return _silent_seconds(self) >= SILENCE_SECONDS if running is None else not running


class Lease:
    """A lease that this process holds, or held."""

    def __init__(self, folder: Path, number: int, owner: Owner, descriptor: int, token: str) -> None:
        self.fence = folder / f"fence-{number:06d}-{token}"
        self._file = folder / _file_name(number)
        self._token = token
        self._facts = {"number": number, "token": token, **asdict(owner)}
        self._beats = 0
        self._descriptor = descriptor

    def check(self) -> None:
        """Raises LeaseLost if another process has taken the lease."""
        if not self.fence.is_dir():
            raise fences.lost(self.fence)

    def beat(self) -> None:
        """Increments the counter, which shows others that this process lives. Restores a damaged or deleted file."""
        self._beats += 1
        os.pwrite(self._descriptor, _content({**self._facts, "beats": self._beats}), 0)
        os.fsync(self._descriptor)
        if self.fence.is_dir() and not self._file.exists():
            self._restore()

    def _restore(self) -> None:
        ready = self._file.with_name(f"{storage.TEMPORARY}{secrets.token_hex(8)}")
        descriptor = os.open(ready, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.pwrite(descriptor, _content({**self._facts, "beats": self._beats}), 0)
            os.link(ready, self._file)
            os.dup2(descriptor, self._descriptor, inheritable=False)
        finally:
            os.close(descriptor)
            ready.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """Deletes the lease, which was never used."""
        with contextlib.suppress(OSError):
            if self._token.encode() in self._file.read_bytes():
                self._file.unlink()
        self.release()

    def release(self) -> None:
        """Frees the lease. Does not affect the next holder if the lease was lost."""
        shutil.rmtree(self.fence, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, _content({**self._facts, "beats": self._beats, "free": True}), 0)
        os.close(self._descriptor)


@contextlib.contextmanager
def hold(folder: Path, run: str, *, waiting: Callable[[Owner], None]) -> Iterator[Lease]:
    """Holds the lease of `folder`; while another holds it, calls `waiting(owner)` about once per second."""
    owner = Owner.current(run)
    lease = None
    while lease is None:
        held = _find(folder)
        if held is None or held.free or held.is_dead():
            with storage.explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                lease = _take(folder, held, owner)
        else:
            waiting(held.owner)
            time.sleep(_POLL_SECONDS)
    fences.install(folder, lease.fence)
    finished = threading.Event()
    beating = threading.Thread(target=_beat, args=(lease, finished), daemon=True, name="lease")
    beating.start()
    try:
        yield lease
    finally:
        finished.set()
        beating.join()
        fences.remove(folder, lease.fence)
        lease.release()


def holder(folder: Path) -> Owner | None:
    """The owner of `folder`'s lease; None if nobody holds it or its owner is known to be dead."""
    held = _find(folder)
    return None if held is None or held.free or held.is_dead() else held.owner


def is_part(path: Path) -> bool:
    """Whether a file or folder belongs to the lease of its folder."""
    return bool(_FILE.fullmatch(path.name) or _FENCE.fullmatch(path.name))


def _find(folder: Path) -> _Held | None:
    """The lease with the highest number, or None. A fence without a lease file shows that the file was lost."""
    while True:
        files = [int(match[1]) for name in _names(folder) if (match := _FILE.fullmatch(name))]
        numbers = [*files, *_fence_numbers(folder, above=max(files, default=0))]
        if not numbers:
            return None
        file = folder / _file_name(max(numbers))
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            if max(numbers) in files:
                continue  # the next holder has removed it
            content = b""
        try:
            facts = storage.parse_json(content)
            names = {name: str(facts[name]) for name in ("host", "boot", "namespace", "run")}
            owner = Owner(**names, pid=int(facts["pid"]), started=int(facts["started"]))
            return _Held(file, max(numbers), content, owner, facts.get("free") is True, str(facts["token"]).encode())
        except (ValueError, TypeError, KeyError):
            return _Held(file, max(numbers), content, UNKNOWN, False)


def _take(folder: Path, held: _Held | None, owner: Owner) -> Lease | None:
    """Takes the lease after `held` and voids all older fences; None if another process was faster.

    If `held` no longer exists, the folder was deleted and its numbers start again. This process creates its fence
    before it reads the numbers for the last time. A later holder creates its number before it looks for fences. So at
    least one of the two notices the other.
    """
    number = held.number + 1 if held else 1
    lease = _create(folder, number, owner, secrets.token_hex(8))
    if lease is None:
        return None
    try:
        if held and not held.is_there():
            lease.withdraw()
            return None
        for name in _names(folder):
            older = _FENCE.fullmatch(name)
            if older and int(older[1]) < number:
                _void(folder / name)
        lease.fence.mkdir()
        newest = _find(folder)
        if newest is None or newest.number != number:
            lease.withdraw()
            return None
    except BaseException:
        lease.release()
        raise
    for name in _names(folder):
        older = _FILE.fullmatch(name)
        if (older and int(older[1]) < number) or _LEFT.fullmatch(name):
            with contextlib.suppress(OSError):
                (folder / name).unlink()
    return lease


def _create(folder: Path, number: int, owner: Owner, token: str) -> Lease | None:
    """Creates the lease file atomically; None if it exists."""
    ready = folder / f"{storage.TEMPORARY}{token}"
    try:
        descriptor = os.open(ready, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileNotFoundError:  # another process has deleted the folder
        return None
    lease = Lease(folder, number, owner, descriptor, token)
    try:
        lease.beat()
        os.link(ready, folder / _file_name(number))
    except OSError as error:
        if not isinstance(error, FileExistsError) or os.fstat(descriptor).st_nlink < 2:  # NFS may report a lost answer
            os.close(descriptor)
            if isinstance(error, FileExistsError | FileNotFoundError):
                return None
            raise
    finally:
        ready.unlink(missing_ok=True)
    return lease


def _void(fence: Path) -> None:
    """Renames the fence and puts a file in its place, so that the former holder cannot create it again."""
    while fence.is_dir():
        grave = fence.with_name(f"{storage.TEMPORARY}{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            fence.rename(grave)
        with contextlib.suppress(FileExistsError, IsADirectoryError):
            os.close(os.open(fence, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        shutil.rmtree(grave, ignore_errors=True)


def _beat(lease: Lease, finished: threading.Event) -> None:
    while not finished.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            lease.beat()


def _fence_numbers(folder: Path, above: int = 0) -> list[int]:
    """The numbers above `above` of the fences that are not void."""
    found = ((folder / name, match) for name in _names(folder) if (match := _FENCE.fullmatch(name)))
    return [int(match[1]) for path, match in found if int(match[1]) > above and path.is_dir()]


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _file_name(number: int) -> str:
    return f"lease-{number:06d}.json"


def _content(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, indent=2, sort_keys=True).encode().ljust(_FILE_BYTES - 1) + b"\n"


def _silent_seconds(held: _Held) -> float:
    """Seconds since a process of this user and this boot first saw the lease in its present state."""
    boot, state = _boot_id() + _namespace(), hashlib.sha256(held.content).hexdigest()
    now = time.monotonic()
    place = hashlib.sha256(os.fsencode(held.file.absolute())).hexdigest()[:32]
    file = storage.cache_folder() / "leases" / f"{place}.json"
    seen = _seen.get(file)
    if seen is None:
        with contextlib.suppress(ValueError, OSError):
            seen = storage.read_json(file)
    match seen:
        case {"boot": known, "state": before, "at": float(at)} if (known, before) == (boot, state) and at <= now:
            return now - at
    _seen[file] = {"boot": boot, "state": state, "at": now}
    with contextlib.suppress(OSError, StorageError):
        storage.write_json(file, _seen[file])
    return 0.0


_seen: dict[Path, Any] = {}
"""The first observations of this process, by their file in the cache. The cache may not be writable."""


def _boot_id() -> str:
    """The random id of this boot of the kernel; empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    """The PID and time namespaces; empty if /proc belongs to another namespace than this process."""
    own = Path("/proc/self")
    try:
        if str(own.readlink()) != str(os.getpid()):
            return ""
        return "".join(str((own / "ns" / name).readlink()) for name in ("pid", "time") if (own / "ns" / name).exists())
    except OSError:
        return ""


def _start_ticks(pid: str) -> int | None:
    """Start time of a process, in clock ticks since boot; -1 for a zombie, None if unknown."""
    try:
        fields = Path("/proc", pid, "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return -1 if fields[0] in "ZXx" else int(fields[19])
