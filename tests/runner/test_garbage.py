"""No artifact that a run or a registered model needs is deleted, unless the run is named or a budget requires it."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bessemer import cli, storage
from bessemer.artifacts import lease
from bessemer.artifacts.store import Store
from bessemer.errors import InputError, TrackingUnreachable, UsageError
from bessemer.runner import garbage, runs
from bessemer.runner.garbage import delete, find_garbage, own_sizes


def folders(found: garbage.Garbage) -> set[Path]:
    return {removal.folder for removal in found.removals}


def test_with_nothing_said_only_what_no_run_needs_can_go(execute: Any) -> None:
    old, _ = execute()
    new, _ = execute("double.letter=b")
    assert folders(find_garbage(execute.root)) == set()
    loose = {old.artifact_folder("double"), old.artifact_folder("join")}
    shutil.rmtree(old.folder)
    found = find_garbage(execute.root)
    assert folders(found) == loose
    assert found.size > 0
    assert all(folder.exists() for folder in loose), "nothing is deleted yet"
    delete(execute.root, found)
    assert not any(folder.exists() for folder in loose)
    assert new.artifact_folder("write").exists()
    assert not any(stage.runs for stage in execute.plan("double.letter=b")[1].stages)


def test_a_named_run_gives_up_what_only_it_needs(execute: Any) -> None:
    old, _ = execute()
    new, _ = execute("double.letter=b")
    found = find_garbage(execute.root, named=[new.name])
    assert folders(found) == {new.artifact_folder("double"), new.artifact_folder("join")}
    assert {name for removal in found.removals for name in removal.needed_by} == {new.name}
    both = find_garbage(execute.root, named=[old.name, new.name])
    assert new.artifact_folder("write") in folders(both)
    sizes = own_sizes(execute.root)
    assert sizes[new.name] == found.size
    with pytest.raises(UsageError, match="no run is called `nowhere`"):
        find_garbage(execute.root, named=["nowhere"])


def test_a_budget_keeps_the_newest_run_of_a_recipe_and_takes_the_oldest_first(execute: Any) -> None:
    runs = [execute(f"double.letter={letter}")[0] for letter in "abc"]
    everything = find_garbage(execute.root, budget_bytes=0)
    assert folders(everything) == {run.artifact_folder(s) for run in runs[:2] for s in ("double", "join")}
    assert [removal.needed_by for removal in everything.removals] == [(run.name,) for run in runs[:2] for _ in "12"]
    total = everything.size + everything.kept
    assert folders(find_garbage(execute.root, budget_bytes=total)) == set()
    assert folders(find_garbage(execute.root, budget_bytes=total - 1)) == {runs[0].artifact_folder("double")}


def test_a_run_that_can_be_resumed_or_works_now_keeps_its_artifacts(execute: Any) -> None:
    with pytest.raises(InputError):
        execute("double.fail=true", "write.letter=z")
    execute()
    assert folders(find_garbage(execute.root, budget_bytes=0)) == set()
    run, _ = execute("write.letter=q")
    with lease.hold(run.folder, run.name, waiting=lambda owner: None):
        run.record("run_started")
        with pytest.raises(UsageError, match="is running"):
            find_garbage(execute.root, named=[run.name])


def test_the_trials_of_a_sweep_keep_their_models(execute: Any) -> None:
    """A trial's plan is in the folder of its sweep. Trials are not in the list of runs."""
    run, _ = execute("write.letter=s")
    sweep, _ = execute()
    trial = sweep.folder / "trials" / "t"
    trial.mkdir(parents=True)
    shutil.move(run.folder / "plan.json", trial / "plan.json")
    shutil.rmtree(run.folder)
    assert folders(find_garbage(execute.root)) == set()
    (trial / "plan.json").unlink()
    assert len(folders(find_garbage(execute.root))) == 3


@pytest.mark.parametrize(("named", "aliased"), [(False, False), (True, True)])
def test_registered_models_and_what_they_were_made_from_stay(
    execute: Any, monkeypatch: pytest.MonkeyPatch, named: bool, aliased: bool
) -> None:
    old, _ = execute()
    execute("write.letter=b")
    model = next(stage.fingerprint for stage in execute.plan()[1].stages if stage.name == "double")
    asked: list[bool] = []

    def registered(root: Path, *, only_aliased: bool) -> set[str]:
        asked.append(only_aliased)
        return {model}

    monkeypatch.setattr(garbage, "registered_models", registered)
    join = old.artifact_folder("join")
    if not named:
        shutil.rmtree(old.folder)
    found = find_garbage(execute.root, named=[old.name] if named else [])
    assert folders(found) == {join}
    assert asked == [aliased]


def test_nothing_goes_while_the_registry_cannot_be_asked(execute: Any) -> None:
    run, _ = execute()
    storage.write_json(run.folder / "tracking.json", {"uri": "http://127.0.0.1:9", "experiment": "toy"})
    with pytest.raises(TrackingUnreachable, match="cannot list"):
        find_garbage(execute.root)


def test_a_trial_that_starts_while_the_list_is_read_keeps_what_it_reuses(execute: Any) -> None:
    """The artifacts of a deleted run are listed, and then a trial of a running sweep reuses them."""
    old, _ = execute("write.letter=s")
    sweep, _ = execute()
    plan = old.plan()
    shutil.rmtree(old.folder)
    found = find_garbage(execute.root)
    assert len(found.removals) == 3
    storage.write_json(sweep.folder / "trials" / "t" / "plan.json", plan)
    assert delete(execute.root, found) == 0
    assert all(removal.folder.exists() for removal in found.removals)
    shutil.rmtree(sweep.folder / "trials")
    assert delete(execute.root, found) == found.size
    assert not any(removal.folder.exists() for removal in found.removals)


def test_a_named_run_that_is_continued_while_the_list_is_read_keeps_its_artifacts(execute: Any) -> None:
    run, _ = execute()
    found = find_garbage(execute.root, named=[run.name])
    assert found.removals
    with lease.hold(run.folder, run.name, waiting=lambda owner: None):
        assert delete(execute.root, found) == 0


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lease can be stored any more."""

    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lease, "_create", refuse)


def test_a_full_disk_can_be_freed(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message about a full disk suggests `bessemer gc`, and a lease needs space too."""
    run, _ = execute()
    found = find_garbage(execute.root, named=[run.name])
    fill_the_disk(monkeypatch)
    assert delete(execute.root, found) == found.size > 0
    assert not list((execute.root / "artifacts").glob("*/*"))


@pytest.mark.parametrize("use", ["needs", "writes", "makes again"])
def test_a_full_disk_frees_no_artifact_that_a_run_begins_to_use(
    execute: Any, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    """The run begins after the last look before the folder is renamed."""
    run, _ = execute()
    plan = run.plan()
    shutil.rmtree(run.folder)
    found = find_garbage(execute.root)
    removal = found.removals[0]
    found = garbage.Garbage((removal,), 0, found.plans)
    here = lease.Owner.current("new")
    move_away = Store.move_away

    create = lease._create

    def begin_before(store: Store, folder: Path) -> Path:
        if use == "writes":
            monkeypatch.setattr(lease, "_create", create)
            assert lease._take(folder, lease._find(folder), here) is not None
        else:
            storage.write_json(execute.root / "new" / "plan.json", plan)
        moved = move_away(store, folder)
        if use == "makes again":
            storage.write_text(folder / "data" / "new", "new")
        return moved

    monkeypatch.setattr(Store, "move_away", begin_before)
    fill_the_disk(monkeypatch)
    freed = delete(execute.root, found)
    assert removal.folder.is_dir()
    if use == "makes again":
        assert (freed, [path.name for path in removal.folder.rglob("*")]) == (removal.size, ["data", "new"])
    else:
        assert freed == 0
        assert (removal.folder / "manifest.json").exists()
    assert not list((execute.root / "artifacts").glob("*/.tmp-*"))


def test_an_artifact_that_is_being_deleted_is_waited_for(execute: Any) -> None:
    """A run checks the lease after it has written its plan, so it does not reuse a partly deleted artifact."""
    run, _ = execute()
    folder = run.artifact_folder("write")
    store = Store(execute.root)
    deleted = threading.Event()

    def remove() -> None:
        with lease.hold(folder, "gc", waiting=lambda owner: None):
            deleted.set()
            time.sleep(1.0)
            store.remove(folder)

    thread = threading.Thread(target=remove)
    thread.start()
    deleted.wait()
    again, display = execute()
    thread.join()
    assert any("run `gc`" in line for line in display.said)
    assert again.stages()["write"]["event"] == "stage_finished"


@pytest.mark.parametrize("content", [b"", b"null", b"{", b'{"stages": [3]}', b"\xff"])
def test_one_broken_run_costs_no_artifact_and_no_command(execute: Any, content: bytes) -> None:
    """The events of the run show which artifacts it needs."""
    broken, _ = execute("write.letter=s")
    execute()
    for name in ("plan.json", "tracking.json", "resolved.yaml"):
        (broken.folder / name).write_bytes(content)
    assert folders(find_garbage(execute.root)) == set()
    assert own_sizes(execute.root)[broken.name] > 0
    shown = CliRunner().invoke(cli.bessemer, ["runs", "--storage-path", str(execute.root)])
    assert shown.exit_code == 0
    assert broken.name in shown.output
    assert "plan.json` is damaged" in shown.output
    (broken.folder / runs.EVENTS).unlink()
    assert broken.folder in {run.folder for run in runs.all_runs(execute.root)}
    status = CliRunner().invoke(cli.bessemer, ["status", broken.name, "--storage-path", str(execute.root)])
    assert status.exit_code == 0


def test_a_damaged_manifest_of_another_artifact_stops_nothing(execute: Any) -> None:
    old, _ = execute("write.letter=s")
    execute()
    (old.artifact_folder("write") / "manifest.json").write_text("{")
    shutil.rmtree(old.folder)
    assert len(find_garbage(execute.root).removals) == 3
    assert execute.plan("write.letter=t")[1].stage("write").runs
