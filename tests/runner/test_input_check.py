"""A result is stored under a fingerprint only if the stage read the content that the fingerprint names."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.runner.toy import HOOKS, TABLE

from bessemer import storage
from bessemer.artifacts.manifest import Manifest
from bessemer.errors import InputChanged
from bessemer.hashes import sha256_of
from bessemer.runner import runs
from bessemer.stages.base import Context, Draft

TICK = 0.02
"""Longer than the steps of the file system's clock."""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of outside files, which the stage `write` reads."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a").write_text("old")

    def outside(config: Any) -> Any:
        files = sorted(folder.iterdir())
        return list(zip([file.name for file in files], sha256_of(files), strict=True))

    def read(draft: Draft, context: Context) -> None:
        text = "".join(file.read_text() for file in sorted(folder.iterdir()))
        storage.write_text(draft.data / "text", text)

    monkeypatch.setitem(TABLE, "write", replace(TABLE["write"], outside=outside))
    monkeypatch.setitem(HOOKS, "read", read)
    return folder


def restore(file: Path, content: str) -> None:
    file.write_text("new")
    file.write_text(content)
    os.utime(file, (0, 0))


CHANGES: dict[str, Callable[[Path], object]] = {
    "other content": lambda folder: (folder / "a").write_text("new"),
    "a further file": lambda folder: (folder / "b").write_text("new"),
    "a removed file": lambda folder: shutil.move(folder / "a", folder / "b"),
    "changed and restored": lambda folder: restore(folder / "a", "old"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_files_that_change_while_a_stage_reads_them_make_no_artifact(
    execute: Any, source: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    read = HOOKS["read"]

    def disturbed(draft: Draft, context: Context) -> None:
        time.sleep(TICK)
        change(source)
        read(draft, context)

    monkeypatch.setitem(HOOKS, "disturbed", disturbed)
    before = execute.plan()[1].stage("write").fingerprint
    with pytest.raises(InputChanged, match="changed"):
        execute("write.hook=disturbed")
    folder = execute.root / "artifacts" / "write" / before
    assert Manifest.read(folder) is None
    assert not (folder / "data").exists(), "nothing is left to be continued"
    run, _ = execute("write.hook=read")
    text = (run.artifact_folder("write") / "data" / "text").read_text()
    assert text == "".join(file.read_text() for file in sorted(source.iterdir()))


def test_a_stage_that_reads_no_file_from_outside_runs(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example is a stage that trains a tokenizer: its description of outside files is None."""
    monkeypatch.setitem(TABLE, "write", replace(TABLE["write"], outside=lambda config: None))
    run, _ = execute()
    assert Manifest.read(run.artifact_folder("write")) is not None


def test_files_that_changed_after_the_plan_make_no_artifact(execute: Any, source: Path) -> None:
    _, plan = execute.plan()
    (source / "a").write_text("new")
    with pytest.raises(InputChanged, match="after the plan"):
        execute("write.hook=read", plan=plan)
    assert Manifest.read(execute.root / "artifacts" / "write" / plan.stage("write").fingerprint) is None


def test_unfinished_work_of_another_state_of_the_files_is_not_continued(
    execute: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage was killed after it read changed files, and the files were restored before it was run again."""

    def killed(draft: Draft, context: Context) -> None:
        time.sleep(TICK)
        (source / "a").write_text("new")
        (draft.work / "receipt").write_text("of the new content")
        raise KeyboardInterrupt

    monkeypatch.setitem(HOOKS, "killed", killed)
    with pytest.raises(KeyboardInterrupt):
        execute("write.hook=killed")
    restore(source / "a", "old")
    seen: list[bool] = []
    monkeypatch.setitem(HOOKS, "look", lambda draft, context: seen.append((draft.work / "receipt").exists()))
    execute("write.hook=look")
    assert seen == [False]


def test_an_input_artifact_that_changes_while_it_is_read_makes_no_artifact(
    execute: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run makes the artifact again with `--rerun`, or its files change."""

    def disturbed(draft: Draft, context: Context) -> None:
        file = runs.find(execute.root, None).artifact_folder("write") / "data" / "text"
        time.sleep(TICK)
        file.write_text("a")

    monkeypatch.setitem(HOOKS, "disturbed", disturbed)
    with pytest.raises(InputChanged, match="the artifact of `write` changed"):
        execute("double.hook=disturbed")
    run = runs.find(execute.root, None)
    assert Manifest.read(run.artifact_folder("double")) is None


def test_an_input_that_disappears_is_named_in_place_of_a_traceback(
    execute: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disturbed(draft: Draft, context: Context) -> None:
        folder = runs.find(execute.root, None).artifact_folder("write")
        shutil.rmtree(folder)
        (folder / "data" / "text").read_text()

    monkeypatch.setitem(HOOKS, "disturbed", disturbed)
    with pytest.raises(InputChanged, match="the artifact of `write` changed"):
        execute("double.hook=disturbed")
