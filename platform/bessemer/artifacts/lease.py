"""One writer an artifact.

Whoever writes an artifact holds its lease: a file with host, boot, process, the process's start time and a
heartbeat. It is made by linking a finished file into place, which only one of two can do. A holder on this machine
whose process is gone is replaced at once; one on another machine after `SILENCE_SECONDS` without a heartbeat. A
holder that finds another's name in its lease has lost it and must stop.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from bessemer import storage

NAME = "lease.json"
HEARTBEAT_SECONDS = 10.0
SILENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Owner:
    """A process, named so that its death can be told even after its number is used again."""

    host: str
    boot: float
    pid: int
    started: float
    run: str

    @staticmethod
    def current(run: str) -> Owner:
        process = psutil.Process()
        return Owner(socket.gethostname(), psutil.boot_time(), process.pid, process.create_time(), run)

    def alive(self, silent_seconds: float) -> bool:
        """Whether the owner may still be writing."""
        if self.host != socket.gethostname():
            return silent_seconds < SILENCE_SECONDS
        if abs(self.boot - psutil.boot_time()) > 5:
            return False
        try:
            process = psutil.Process(self.pid)
            return bool(abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


@contextlib.contextmanager
def hold(folder: Path, run: str, *, waiting: Callable[[Owner], None]) -> Iterator[None]:
    """Holds the lease of `folder`; while another holds it, calls `waiting(owner)` about once a second."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    mine = {**asdict(Owner.current(run)), "token": secrets.token_hex(8)}
    while not _take(path, mine):
        held = _read(path)
        if held is None:
            continue
        owner, silent, token = held
        if owner.alive(silent):
            waiting(owner)
            time.sleep(1.0)
        else:
            _evict(path, token)
    finished = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, mine, finished), daemon=True, name="lease")
    beating.start()
    try:
        yield
    finally:
        finished.set()
        beating.join()
        if _token(path) == mine["token"]:
            path.unlink(missing_ok=True)


def holder(folder: Path) -> Owner | None:
    """The live owner of `folder`'s lease, if there is one."""
    held = _read(folder / NAME)
    return held[0] if held and held[0].alive(held[1]) else None


def _take(path: Path, mine: dict[str, Any]) -> bool:
    ready = path.with_name(f"{storage.TEMPORARY}{mine['token']}")
    storage.write_json(ready, mine)
    try:
        os.link(ready, path)
    except FileExistsError:
        return False
    finally:
        ready.unlink(missing_ok=True)
    return True


def _evict(path: Path, token: str) -> None:
    """Removes a dead owner's lease. The rename is the claim: of two that evict, one finds it gone."""
    grave = path.with_name(f"{storage.TEMPORARY}{secrets.token_hex(4)}-{NAME}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(grave)
        if _token(grave) != token:  # a third one took the lease in between: put it back
            with contextlib.suppress(FileExistsError):
                os.link(grave, path)
        grave.unlink(missing_ok=True)


def _beat(path: Path, mine: dict[str, Any], finished: threading.Event) -> None:
    while not finished.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            if _token(path) == mine["token"]:
                os.utime(path)


def _read(path: Path) -> tuple[Owner, float, str] | None:
    try:
        raw = storage.read_json(path)
        if raw is None:
            return None
        silent = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    token = raw.pop("token")
    return Owner(**raw), silent, token


def _token(path: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        raw = storage.read_json(path)
        return str(raw["token"]) if raw else None
    return None
