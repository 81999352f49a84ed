"""Signals and errors from other threads interrupt a run."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from bessemer.errors import RayDied, Stopped
from bessemer.runner.stopping import Request, graceful


def test_an_error_from_another_thread_interrupts_the_main_thread(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGALRM)
    began = time.monotonic()
    with graceful(tmp_path / "stop") as asked:
        threading.Timer(0.1, asked.fail, [RayDied("Ray's raylet died")]).start()
        with pytest.raises(RayDied, match="Ray's raylet died"):
            time.sleep(30)
    assert time.monotonic() - began < 20
    assert not asked.is_set(), "the run was not asked to stop by its user"
    assert signal.getsignal(signal.SIGALRM) == before


def test_an_error_after_the_run_interrupts_nothing(tmp_path: Path) -> None:
    with graceful(tmp_path / "stop") as asked:
        pass
    asked.fail(RayDied("late"))
    Request().fail(RayDied("in a thread"))


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with graceful(tmp_path / "stop", grace_seconds=60) as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.is_set()
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)
    assert (tmp_path / "stop").exists()
