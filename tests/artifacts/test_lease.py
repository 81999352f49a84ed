"""One writer per artifact, also when owners are stopped, cut off or killed, and if clocks are set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bessemer import fences, storage
from bessemer.artifacts import lease
from bessemer.errors import LeaseLost

HOLD = """
import sys, time
from pathlib import Path
from bessemer.artifacts import lease
with lease.hold(Path(sys.argv[1]), "other", waiting=lambda owner: None):
    print("held", flush=True)
    time.sleep(60)
"""
ELSEWHERE = lease.Owner("another-host", "another boot", "pid:[1]", 1, 0, "remote")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifact"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock that the lease sees; waiting for another owner advances it by a second."""
    now = [1000.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(lease.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def waiting_forbidden(owner: lease.Owner) -> None:
    raise AssertionError(f"waited for {owner}")


def take_elsewhere(folder: Path, owner: lease.Owner = ELSEWHERE) -> lease.Lease:
    """A lease that a process elsewhere holds; this process cannot look it up."""
    folder.mkdir(exist_ok=True)
    taken = lease._take(folder, lease._find(folder), owner)
    assert taken is not None
    return taken


def test_a_held_lease_makes_others_wait(folder: Path) -> None:
    waited = []

    class Enough(Exception):
        pass

    def wait(owner: lease.Owner) -> None:
        waited.append(owner.run)
        raise Enough

    with lease.hold(folder, "first", waiting=waiting_forbidden):
        assert lease.holder(folder) is not None
        with pytest.raises(Enough), lease.hold(folder, "second", waiting=wait):
            pass
    assert waited == ["first"]
    assert lease.holder(folder) is None


def test_the_lease_of_a_killed_process_is_taken_over_at_once(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert lease.holder(folder) is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but not yet reaped
    assert lease.holder(folder) is None
    child.wait()
    child.stdout.close()
    with lease.hold(folder, "heir", waiting=waiting_forbidden):
        held = lease.holder(folder)
        assert held is not None
        assert held.run == "heir"


def test_a_clock_step_kills_no_owner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner is looked up by the boot id and its start in ticks since boot, and neither follows the time of day."""
    with lease.hold(folder, "first", waiting=waiting_forbidden):
        monkeypatch.setattr(lease.time, "time", lambda: 1e10, raising=False)
        for file in folder.iterdir():
            os.utime(file, (0, 0))
        owner = lease.holder(folder)
        assert owner is not None
        assert owner.is_running()


@pytest.mark.parametrize("change", [{"boot": "another"}, {"namespace": "pid:[7]"}, {"boot": ""}, {"namespace": ""}])
def test_an_owner_that_cannot_be_looked_up_is_believed_while_it_counts(
    folder: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    """The same process id on the same host may belong to a process in another container."""
    owner = replace(lease.Owner.current("remote"), pid=2**22 - 1, **change)
    taken = take_elsewhere(folder, owner)
    for _ in range(3):
        assert lease.holder(folder) == owner
        clock[0] += lease.SILENCE_SECONDS - 1
        assert lease.holder(folder) == owner
        taken.beat()
    assert lease.holder(folder) == owner
    clock[0] += lease.SILENCE_SECONDS
    assert lease.holder(folder) is None


def test_a_first_look_is_remembered_by_later_commands(
    folder: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_elsewhere(folder)
    assert lease.holder(folder) is not None
    clock[0] += lease.SILENCE_SECONDS
    monkeypatch.setattr(lease, "_seen", {})
    assert lease.holder(folder) is None
    monkeypatch.setattr(lease, "_seen", {})
    monkeypatch.setattr(lease, "_boot_id", lambda: "after a restart")
    assert lease.holder(folder) is not None, "the monotonic clock began anew"


def test_a_waiter_takes_over_after_silence_and_the_former_owner_cannot_publish(
    folder: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    former = take_elsewhere(folder)
    waited: list[str] = []
    table = {folder: former.fence}
    with lease.hold(folder, "heir", waiting=lambda owner: waited.append(owner.run)) as mine:
        assert len(waited) == lease.SILENCE_SECONDS
        storage.write_text(folder / "data", "mine")
        new = fences.table()
        fences.adopt(table)  # as in the process of the former owner
        for write in (storage.write_text, storage.append_line):
            with pytest.raises(LeaseLost):
                write(folder / "data", "former")
        with pytest.raises(LeaseLost):
            fences.check(folder / "data")
        with pytest.raises(LeaseLost):
            former.check()
        former.beat()
        former.release()
        fences.adopt(new)
        mine.check()
        holder = lease.holder(folder)
        assert holder is not None
        assert holder.run == "heir"
    assert (folder / "data").read_text() == "mine"


def test_a_file_that_was_begun_before_the_loss_is_not_published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The former owner is stopped in the middle of a write, also right before its rename."""
    former = take_elsewhere(folder)
    fences.install(folder, former.fence)

    def write() -> None:
        with storage.atomic_path(folder / "data") as temporary:
            temporary.write_text("former")
            take_elsewhere(folder, lease.Owner.current("heir"))
            with pytest.raises(NotADirectoryError):
                temporary.rename(folder / "data")
            with pytest.raises(FileExistsError):
                former.fence.mkdir(parents=True)

    try:
        with pytest.raises(LeaseLost):
            write()
    finally:
        fences.remove(folder, former.fence)
    assert not (folder / "data").exists()


def test_an_owner_that_was_silent_and_not_replaced_keeps_its_lease(
    folder: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with lease.hold(folder, "slow", waiting=waiting_forbidden) as mine:
        clock[0] += 10 * lease.SILENCE_SECONDS
        mine.check()
        storage.write_text(folder / "data", "slow")


def test_one_that_takes_over_late_does_not_void_a_later_owner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is stopped after it chose a number, and another one takes the lease and the next number meanwhile."""
    take_elsewhere(folder)
    seen = lease._find(folder)
    third: list[lease.Lease] = []
    void = lease._void

    def interrupted(fence: Path) -> None:
        if not third:
            third.append(None)  # type: ignore[arg-type]
            third[0] = take_elsewhere(folder, lease.Owner.current("third"))
        void(fence)

    monkeypatch.setattr(lease, "_void", interrupted)
    assert lease._take(folder, seen, lease.Owner.current("late")) is None
    third[0].check()
    holder = lease.holder(folder)
    assert holder is not None
    assert holder.run == "third"


def test_one_that_saw_a_lease_of_a_deleted_folder_withdraws(folder: Path) -> None:
    """The numbers start again, so the one that it chose is higher than that of the new owner."""
    take_elsewhere(folder)
    take_elsewhere(folder)
    seen = lease._find(folder)
    shutil.rmtree(folder)
    owner = take_elsewhere(folder, lease.Owner.current("new"))
    assert lease._take(folder, seen, lease.Owner.current("late")) is None
    owner.check()
    found = lease.holder(folder)
    assert found is not None
    assert found.run == "new"


def test_one_that_chose_an_old_number_withdraws(folder: Path) -> None:
    take_elsewhere(folder)
    seen = lease._find(folder)
    for _ in range(2):
        newest = take_elsewhere(folder)
    assert lease._take(folder, seen, lease.Owner.current("late")) is None
    newest.check()
    held = lease._find(folder)
    assert held is not None
    assert held.number == 3


@pytest.mark.parametrize("content", [b"", b"null", b"{", b"[]", b'{"number": 1}', b"\xff\xfe", b"[" * 10**5])
def test_a_lease_that_cannot_be_read_is_taken_over_after_silence(
    folder: Path, clock: list[float], content: bytes
) -> None:
    folder.mkdir()
    (folder / "lease-000004.json").write_bytes(content)
    waited: list[str] = []
    with lease.hold(folder, "heir", waiting=lambda owner: waited.append(owner.run)):
        assert set(waited) == {"unknown"}
        assert len(waited) == lease.SILENCE_SECONDS
    assert lease.holder(folder) is None


@pytest.mark.parametrize("number", [1, 5])
def test_an_owner_whose_file_was_deleted_is_believed_until_it_is_silent(
    folder: Path, clock: list[float], number: int
) -> None:
    """Its fence shows that a process writes, and the heir voids it."""
    for _ in range(number):
        former = take_elsewhere(folder)
    former._file.unlink()
    waited: list[str] = []
    with lease.hold(folder, "heir", waiting=lambda owner: waited.append(owner.run)) as mine:
        assert set(waited) == {"unknown"}
        assert len(waited) == lease.SILENCE_SECONDS
        mine.check()
        with pytest.raises(LeaseLost):
            former.check()


def test_a_living_owner_repairs_its_damaged_file(folder: Path, clock: list[float]) -> None:
    with lease.hold(folder, "owner", waiting=waiting_forbidden) as mine:
        (file,) = folder.glob("lease-*.json")
        for damage in (lambda: os.truncate(file, 3), file.unlink):
            damage()
            for _ in range(2):
                mine.beat()
                found = lease.holder(folder)
                assert found is not None
                assert found.run == "owner"
    assert lease.holder(folder) is None


def test_nothing_but_the_last_number_is_left(folder: Path) -> None:
    for name in ("a", "b", "c"):
        with lease.hold(folder, name, waiting=waiting_forbidden):
            storage.write_text(folder / "text", name)
    (folder / f"{storage.TEMPORARY}{'a' * 16}").write_text("left by a killed process")
    with lease.hold(folder, "d", waiting=waiting_forbidden):
        pass
    assert {path.name for path in folder.iterdir()} == {"lease-000004.json", "text"}
    assert all(lease.is_part(path) == (path.name != "text") for path in folder.iterdir())
    assert json.loads((folder / "lease-000004.json").read_bytes())["free"]


def test_of_many_takers_one_holds_at_a_time(folder: Path) -> None:
    inside, overlaps = [], []

    def work(name: str) -> None:
        with lease.hold(folder, name, waiting=lambda owner: None):
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


def test_of_many_that_take_over_from_a_dead_owner_one_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_elsewhere(folder, replace(lease.Owner.current("dead"), started=-5))
    assert lease.holder(folder) is None
    start, won, seen = threading.Barrier(8), [], lease._find(folder)

    def take(number: int) -> None:
        start.wait()
        taken = lease._take(folder, seen, lease.Owner.current(str(number)))
        if taken is not None:
            won.append(taken)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    won[0].check()


def test_the_owner_says_who_it_is() -> None:
    owner = lease.Owner.current("run")
    assert owner.pid == os.getpid()
    if sys.platform == "linux":
        assert owner.boot
        assert owner.started > 0
        assert owner.is_running()
