"""One writer an artifact, also when owners die without a word."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from bessemer import storage
from bessemer.artifacts import lease

HOLD = """
import sys, time
from pathlib import Path
from bessemer.artifacts import lease
with lease.hold(Path(sys.argv[1]), "other", waiting=lambda owner: None):
    print("held", flush=True)
    time.sleep(60)
"""


def waiting_forbidden(owner: lease.Owner) -> None:
    raise AssertionError(f"waited for {owner}")


def test_a_held_lease_makes_others_wait(tmp_path: Path) -> None:
    waited = []

    class Enough(Exception):
        pass

    def wait(owner: lease.Owner) -> None:
        waited.append(owner.run)
        raise Enough

    with lease.hold(tmp_path, "first", waiting=waiting_forbidden):
        assert lease.holder(tmp_path) is not None
        with pytest.raises(Enough), lease.hold(tmp_path, "second", waiting=wait):
            pass
    assert waited == ["first"]
    assert lease.holder(tmp_path) is None


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert lease.holder(tmp_path) is not None
    child.kill()
    child.wait()
    child.stdout.close()
    with lease.hold(tmp_path, "heir", waiting=waiting_forbidden):
        held = lease.holder(tmp_path)
        assert held is not None
        assert held.run == "heir"


@pytest.mark.parametrize(("silent_seconds", "alive"), [(5.0, True), (120.0, False)])
def test_a_remote_owner_is_believed_while_its_heart_beats(tmp_path: Path, silent_seconds: float, alive: bool) -> None:
    owner = lease.Owner("another-host", 0.0, 1, 0.0, "remote")
    path = tmp_path / lease.NAME
    storage.write_json(path, {**asdict(owner), "token": "t"})
    then = time.time() - silent_seconds
    import os

    os.utime(path, (then, then))
    assert (lease.holder(tmp_path) is not None) == alive


def test_of_many_takers_one_holds_at_a_time(tmp_path: Path) -> None:
    inside, overlaps = [], []

    def work(name: str) -> None:
        with lease.hold(tmp_path, name, waiting=lambda owner: None):
            inside.append(name)
            overlaps.append(len(inside))
            time.sleep(0.01)
            inside.remove(name)

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [1, 1, 1]
