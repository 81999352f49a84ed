"""A repeated command resumes the run. Existing artifacts are reused, and no artifact is incomplete."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.runner.toy import HOOKS

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.artifacts.ledger import Counts
from bessemer.artifacts.manifest import Manifest
from bessemer.cli.common import advise
from bessemer.errors import (
    ArtifactDamaged,
    BessemerError,
    InputError,
    LeaseLost,
    NothingLeft,
    RayDied,
    Stopped,
    StorageError,
    UsageError,
)
from bessemer.recipe.recipe import ClusterSettings
from bessemer.runner import run as runner
from bessemer.runner import runs
from bessemer.runner.cluster import Cluster
from bessemer.stages.base import Context, Draft


def events(run: Any, kind: str) -> list[str]:
    return [event["stage"] for event in run.events() if event["event"] == f"stage_{kind}"]


def text(run: Any, stage: str) -> str:
    return (run.artifact_folder(stage) / "data" / "text").read_text()


def test_a_run_makes_every_artifact_and_the_next_reuses_them(execute: Any) -> None:
    first, _ = execute()
    assert events(first, "finished") == ["write", "double", "join"]
    assert text(first, "join") == "a" + "aa" + "a"
    second, display = execute()
    assert second.name != first.name
    assert events(second, "reused") == ["write", "double", "join"]
    assert any(line.startswith("write: reused") for line in display.said)
    assert second.status() == "finished"


def test_a_changed_setting_runs_its_stage_and_those_below(execute: Any) -> None:
    execute()
    _, planned = execute.plan("double.letter=b")
    assert [(stage.name, stage.runs) for stage in planned.stages] == [
        ("write", False),
        ("double", True),
        ("join", True),
    ]
    assert planned.stage("double").why == "changed: `letter`"
    assert planned.stage("join").why == "`double` runs first"
    run, _ = execute("double.letter=b")
    assert text(run, "join") == "a" + "ab" + "a"


def test_an_execution_setting_changes_no_fingerprint(execute: Any) -> None:
    execute()
    _, planned = execute.plan("double.num_workers=0", "num_workers=2")
    assert not any(stage.runs for stage in planned.stages)


def test_the_seed_counts_only_where_something_is_random(execute: Any) -> None:
    execute()
    _, planned = execute.plan("seed=1")
    assert [stage.name for stage in planned.stages if stage.runs] == ["join"]


def test_a_failed_run_is_continued_in_its_own_folders(execute: Any) -> None:
    with pytest.raises(InputError):
        execute("double.fail=true")
    failed = runs.find(execute.root, None)
    assert failed.status() == "failed"
    assert Manifest.read(failed.artifact_folder("double")) is None
    assert "begun before" in execute.plan()[1].stage("double").why
    continued, _ = execute()
    assert continued.name == failed.name
    assert continued.status() == "finished"
    assert events(continued, "started") == ["write", "double", "double", "join"]
    manifest = Manifest.read(continued.artifact_folder("double"))
    assert manifest is not None
    assert manifest.attempts == 2
    assert not (continued.artifact_folder("double") / "work").exists()


def test_until_stops_after_a_stage(execute: Any) -> None:
    run, _ = execute(until="double")
    assert list(run.stages()) == ["write", "double"]


def test_rerun_makes_a_stage_again_and_those_below_only_if_its_bytes_changed(execute: Any) -> None:
    first, _ = execute()
    before = Manifest.read(first.artifact_folder("write"))
    second, _ = execute(rerun=("write",))
    assert events(second, "finished") == ["write"]
    assert events(second, "reused") == ["double", "join"]
    after = Manifest.read(second.artifact_folder("write"))
    assert before is not None
    assert after is not None
    assert after.created_at != before.created_at


def test_other_bytes_under_the_same_settings_run_the_stages_below(execute: Any) -> None:
    """A crawl that runs again may have different pages. Artifacts made from the old pages are not reused."""
    execute()
    HOOKS["more"] = lambda draft, context: (draft.data / "more").write_text(str(time.time_ns()))
    run, _ = execute("write.hook=more", rerun=("write",))
    assert events(run, "finished") == ["write", "double", "join"]


def test_an_unknown_stage_is_named_with_the_nearest(execute: Any) -> None:
    with pytest.raises(UsageError, match="no stage `duble`") as caught:
        execute(until="duble")
    assert "`double`" in caught.value.hint


def test_a_damaged_artifact_is_found_before_anything_runs(execute: Any) -> None:
    run, _ = execute()
    (run.artifact_folder("write") / "data" / "text").write_text("")
    with pytest.raises(ArtifactDamaged) as caught:
        execute()
    assert "--rerun write" in caught.value.hint
    again, _ = execute(rerun=("write",))
    assert text(again, "join") == "aaaa"


def test_bytes_that_rot_in_place_are_found_when_they_are_read(execute: Any) -> None:
    run, _ = execute()
    (run.artifact_folder("write") / "data" / "text").write_text("b")
    with pytest.raises(ArtifactDamaged, match="other bytes"):
        execute("double.letter=c")


def test_a_stage_that_leaves_nothing_fails_with_the_way_to_see_why(execute: Any) -> None:
    def remove_all(draft: Any, context: Any) -> None:
        draft.counts = Counts(documents_in=3, removed=3)

    HOOKS["gone"] = remove_all
    with pytest.raises(NothingLeft, match="all 3 were removed") as caught:
        execute("write.hook=gone")
    assert "show" in caught.value.hint


def test_a_stop_file_ends_the_run_and_the_next_command_continues(execute: Any) -> None:
    def stop(draft: Any, context: Any) -> None:
        context.stop_file.touch()
        context.check_stop()

    HOOKS["stop"] = stop
    with pytest.raises(Stopped):
        execute("double.hook=stop")
    stopped = runs.find(execute.root, "@last")
    assert stopped.status() == "stopped"
    continued, _ = execute()
    assert (continued.name, continued.status()) == (stopped.name, "finished")


def test_two_runs_at_once_make_an_artifact_once(execute: Any) -> None:
    made: list[Path] = []

    def slow(draft: Any, context: Any) -> None:
        made.append(draft.path)
        time.sleep(1.5)

    HOOKS["slow"] = slow
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(execute("write.hook=slow"))) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert {run.status() for run, _ in results} == {"finished"}
    assert any("waiting to reuse it" in line for _, display in results for line in display.said)


def test_two_commands_continue_one_run_in_turn(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one says that it waits, and its attempt is the next one after that of the first."""
    run = runs.create(execute.root, *execute.plan())
    first = lease._take(run.folder, None, lease.Owner.current(run.name))
    assert first is not None

    def finish_first(seconds: float) -> None:
        run.record("run_started", attempt=1)
        first.release()

    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=finish_first, monotonic=time.monotonic))
    _, display = execute(run=run)
    assert [event["attempt"] for event in run.events() if event["event"] == "run_started"] == [1, 2]
    assert sum("waiting until it ends" in line for line in display.said) == 1


def lose(folder: Path) -> None:
    """Another machine takes the lease of `folder`, as if this process were suspended, and then dies."""
    elsewhere = lease.Owner("elsewhere", "another boot", "", 1, 1, "other")
    assert lease._take(folder, lease._find(folder), elsewhere) is not None


@pytest.mark.parametrize("at_a_write", [False, True])
def test_a_run_that_lost_an_artifact_writes_no_more_of_it_and_waits(
    execute: Any, monkeypatch: pytest.MonkeyPatch, at_a_write: bool
) -> None:
    monkeypatch.setattr(lease, "SILENCE_SECONDS", 1.5)
    tries: list[Path] = []

    def stopped_for_a_while(draft: Any, context: Any) -> None:
        tries.append(draft.path)
        if len(tries) == 1:
            lose(draft.path)
            if not at_a_write:
                context.check_stop()
            storage.write_text(draft.data / "text", "from the past")

    monkeypatch.setitem(HOOKS, "stopped", stopped_for_a_while)
    run, display = execute("write.hook=stopped")
    assert run.status() == "finished"
    assert len(tries) == 2
    assert text(run, "write") == "a"
    assert any("waiting to reuse its result" in line for line in display.said)
    assert any("run `other`" in line for line in display.said)


def test_a_manifest_is_not_published_without_the_lease(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage ends without another write, so the manifest is the first write after the loss of the lease."""

    class Enough(Exception):
        pass

    def enough(owner: lease.Owner) -> None:
        raise Enough

    def stopped_for_a_while(draft: Any, context: Any) -> None:
        lose(draft.path)

    monkeypatch.setitem(HOOKS, "stopped", stopped_for_a_while)
    monkeypatch.setattr(runner, "_waiting", lambda execution, name: enough)
    with pytest.raises(Enough):
        execute("write.hook=stopped")
    run = runs.find(execute.root, None)
    assert Manifest.read(run.artifact_folder("write")) is None


def test_a_process_that_lost_its_run_ends_and_records_nothing(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[str] = []

    def stopped_for_a_while(draft: Any, context: Any) -> None:
        run = runs.find(execute.root, None)
        lose(run.folder)
        before.append((run.folder / runs.EVENTS).read_text())
        context.check_stop()

    monkeypatch.setitem(HOOKS, "stopped", stopped_for_a_while)
    with pytest.raises(LeaseLost, match="another process writes"):
        execute("write.hook=stopped")
    run = runs.find(execute.root, None)
    assert (run.folder / runs.EVENTS).read_text() == before[0]
    assert run.status() == "running", "the other process is believed until it is silent"


def test_what_a_maker_left_after_its_manifest_is_removed(execute: Any) -> None:
    """The process that made the artifact was killed between the manifest and the clean-up."""
    run, _ = execute()
    left = run.artifact_folder("write") / "work" / "receipts"
    left.mkdir(parents=True)
    again, _ = execute()
    assert events(again, "reused") == ["write", "double", "join"]
    assert not left.parent.exists()


def test_unfinished_files_of_killed_writers_are_removed(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(draft: Any, context: Any) -> None:
        for folder in (draft.data, draft.ledger, draft.checkpoints, draft.path):
            (folder / ".tmp-1234-part").write_text("half")
        (draft.checkpoints / ".tmp-step-4").mkdir()

    monkeypatch.setitem(HOOKS, "leave", leave)
    run, _ = execute("write.hook=leave")
    assert not list(run.artifact_folder("write").rglob(".tmp-*"))
    assert not list(run.folder.rglob(".tmp-*"))


def test_work_stays_until_the_manifest_is_written(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the end of a stage and its manifest must not make the stage start again."""
    write = Manifest.write

    def killed(self: Manifest, folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Manifest, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        execute()
    run = runs.find(execute.root, None)
    assert (run.artifact_folder("write") / "work" / "begun").exists()
    monkeypatch.setattr(Manifest, "write", write)
    execute()
    assert not (run.artifact_folder("write") / "work").exists()


def test_the_log_of_a_failed_stage_holds_its_traceback(execute: Any) -> None:
    with pytest.raises(InputError):
        execute("double.fail=true")
    log = runs.find(execute.root, None).log_file("double").read_text()
    assert "Traceback" in log
    assert "the input is bad" in log


def test_the_warnings_of_a_stage_are_shown_and_in_its_log(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(draft: Any, context: Any) -> None:
        context.log.info("a detail")
        context.log.warning("%d links are left out\x1b[2J", 500)

    monkeypatch.setitem(HOOKS, "warn", warn)
    run, display = execute("double.hook=warn")
    assert [line for line in display.said if "warning" in line] == ["warning: double: 500 links are left out\\x1b[2J"]
    assert not any("a detail" in line for line in display.said)
    assert "WARNING 500 links are left out" in run.log_file("double").read_text()


def test_the_order_of_many_inputs_is_part_of_the_fingerprint(execute: Any, tmp_path: Path) -> None:
    """The last of several models is the evaluated one, so the reverse order is a different evaluation."""
    prints, recipe = [], tmp_path / "recipe.yaml"
    text = recipe.read_text()
    for order in ("[double, again]", "[again, double]", "[double, again]"):
        recipe.write_text(f"{text}  again: {{stage: double, letter: b}}\n  compare: {{from: {order}}}\n")
        prints.append(execute.plan()[1].stage("compare").fingerprint)
    assert prints[0] != prints[1]
    assert prints[0] == prints[2]


def full(path: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_full_disk_is_one_error_whatever_else_cannot_be_written(
    execute: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk fills up in the middle of a stage, so its log, the events and the report cannot be written either."""
    write = os.write

    def fill(draft: Any, context: Any) -> None:
        def refuse(*arguments: Any) -> Any:
            raise full(draft.path)

        monkeypatch.setattr(logging.StreamHandler, "flush", refuse)
        monkeypatch.setattr(os, "write", refuse)
        context.log.info("this line is lost")
        raise full(draft.path)

    HOOKS["fill"] = fill
    concluded: list[str] = []

    def conclude(run: Any) -> None:
        concluded.append(run.name)
        raise StorageError("no space left to write `report.html`")

    with pytest.raises(StorageError, match=r"no space left to write `.*artifacts/double") as caught:
        execute("double.hook=fill", conclude=conclude)
    monkeypatch.setattr(os, "write", write)
    assert caught.value.may_pass
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (StorageError("no space left"), True),
        (ConnectionResetError("a server went away"), True),
        (InputError("the input is bad"), False),
        (ValueError("a defect"), False),
        (AssertionError(), False),
    ],
)
def test_only_an_error_that_may_pass_is_worth_the_same_command(execute: Any, error: Exception, passes: bool) -> None:
    def fail(draft: Any, context: Any) -> None:
        raise error

    HOOKS["fail"] = fail
    with pytest.raises(BessemerError) as caught:
        execute("double.hook=fail")
    assert caught.value.may_pass is passes
    advise(caught.value, "bessemer run toy.yaml")
    assert ("continue with: bessemer run toy.yaml" in caught.value.hint) is passes


def test_storage_that_refuses_a_new_run_is_one_error(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the attribute `i` refuses writes, even by root."""

    def refuse(self: Path, *arguments: Any, **options: Any) -> None:
        if self.name.startswith("toy-"):
            raise PermissionError(errno.EPERM, "Operation not permitted", str(self))
        made(self, *arguments, **options)

    made = Path.mkdir
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="cannot be written: Operation not permitted") as caught:
        execute()
    assert "storage_path" in caught.value.hint


def test_the_death_of_ray_is_the_error_of_the_run(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is reported even if the error of a worker that died at the same time comes first."""

    class Dead(Cluster):
        def death(self) -> RayDied:
            return RayDied("Ray's raylet died (killed by SIGKILL)", hint="run it again")

    def actor_died(draft: Draft, context: Context) -> None:
        raise RuntimeError("The actor died unexpectedly")

    monkeypatch.setitem(HOOKS, "actor_died", actor_died)
    cluster = Dead(ClusterSettings())
    with pytest.raises(RayDied):
        execute("double.hook=actor_died", cluster=cluster)
    (run,) = runs.all_runs(execute.root)
    events = {event["event"]: event for event in run.events()}
    assert events["stage_failed"]["error"] == "Ray's raylet died (killed by SIGKILL)"
    assert events["run_failed"]["error"] == "Ray's raylet died (killed by SIGKILL)"
