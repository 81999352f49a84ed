"""A call in a child process can return, raise or kill the child. The parent survives in each case."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from bessemer import child_process
from bessemer.child_process import ChildEnded, ChildProcess, OutOfTime
from bessemer.errors import InputError


def compute_forever() -> None:
    while True:
        pass


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(10)


def close_everything_and_sleep() -> None:
    os.closerange(3, 100)
    time.sleep(60)


class Foreign(Exception):
    """An exception whose pickle raises, because its constructor takes other arguments."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first}, {second}")


def fail(error: str) -> None:
    raise InputError("bad input", hint="repair it") if error == "input" else Foreign(1, 2)


def test_results_and_exceptions_are_those_of_the_function() -> None:
    with ChildProcess() as child:
        assert child.call(sorted, [3, 1, 2], reverse=True) == [3, 2, 1]
        first = child.call(os.getpid)
        with pytest.raises(InputError, match="bad input") as raised:
            child.call(fail, "input")
        assert raised.value.hint == "repair it"
        with pytest.raises(RuntimeError, match="Foreign: 1, 2"):
            child.call(fail, "foreign")
        with pytest.raises(Exception, match="pickle"):
            child.call(lambda: 1)
        assert child.call(os.getpid) == first != os.getpid()


def test_a_call_that_needs_too_much_memory_raises_and_the_next_one_works() -> None:
    with ChildProcess(memory_bytes=1 << 30) as child:
        assert child.call(len, b"x" * (1 << 20)) == 1 << 20
        first = child.call(os.getpid)
        with pytest.raises(MemoryError):
            child.call(bytes, 2 << 30)
        assert child.call(os.getpid) == first


def test_a_call_that_waits_too_long_is_ended_and_the_next_one_works() -> None:
    """CPU time does not bound a call that waits, for example for a network."""
    with ChildProcess(seconds=0.5) as child:
        with pytest.raises(OutOfTime, match=r"did not answer within 0.5 seconds"):
            child.call(time.sleep, 60)
        child.seconds = 60.0
        assert child.call(sorted, [2, 1]) == [1, 2]


def test_standard_output_of_the_child_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output is reserved for the data of a command."""
    with ChildProcess() as child:
        child.call(print, "said", flush=True)
    assert capfd.readouterr() == ("", "said\n")


def test_a_call_beyond_its_cpu_time_is_ended_and_the_next_one_works() -> None:
    with ChildProcess(cpu_seconds=0.5) as child:
        child.call(time.sleep, 1.6)  # a sleep takes no CPU time
        began = time.monotonic()
        with pytest.raises(OutOfTime, match=r"more than 0\.5 s of CPU time"):
            child.call(compute_forever)
        assert time.monotonic() - began < 30
        assert child.call(len, "abc") == 3


def test_a_crash_names_its_signal_and_the_next_call_works() -> None:
    with ChildProcess() as child:
        with pytest.raises(ChildEnded, match="SIGSEGV"):
            child.call(die, signal.SIGSEGV)
        with pytest.raises(ChildEnded, match="its process ended with exit code"):
            child.call(os._exit, 0)
        assert child.call(len, "abc") == 3


def test_ctrl_c_does_not_reach_the_child() -> None:
    with ChildProcess() as child:
        pid = child.call(os.getpid)
        os.kill(pid, signal.SIGINT)
        assert child.call(os.getpid) == pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_no_request_to_stop_reaches_the_child_while_it_starts(number: signal.Signals) -> None:
    """A signal must not kill the child while Python starts, which takes a while."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with ChildProcess() as child:
        child._start()
        assert child._process is not None
        child._process.send_signal(number)
        assert child.call(len, "abc") == 3
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_another_thread_ends_a_call() -> None:
    with ChildProcess() as child:
        child.call(len, "")
        threading.Timer(0.2, child.kill).start()
        with pytest.raises(ChildEnded, match="SIGKILL"):
            child.call(compute_forever)


def test_an_interrupted_call_leaves_no_answer_to_the_next_one() -> None:
    class Interrupted(Exception):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ChildProcess() as child:
            child.call(len, "")
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Interrupted):
                child.call(time.sleep, 1)
            assert child.call(len, "abc") == 3
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_child_that_closes_its_pipe_and_lives_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_CLOSING_SECONDS", 0.2)
    with ChildProcess() as child:
        with pytest.raises(ChildEnded, match="SIGKILL"):
            child.call(close_everything_and_sleep)
        assert child.call(len, "abc") == 3


def test_no_module_is_imported_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data may lie next to a file that is called like a module of the standard library."""
    (tmp_path / "selectors.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with ChildProcess() as child:
        assert child.call(len, "abc") == 3


def test_the_child_ends_with_its_object() -> None:
    child = ChildProcess()
    pid = child.call(os.getpid)
    del child
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
