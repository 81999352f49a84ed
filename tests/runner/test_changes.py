"""A plan names the part of a stage's identity that differs from the most similar artifact."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
from tests.runner.toy import TABLE

from bessemer.runner.changes import nearest_change


def why(execute: Any, stage: str, *assignments: str) -> str:
    planned: str = execute.plan(*assignments)[1].stage(stage).why
    return planned


def test_a_changed_seed_is_named_where_the_stage_uses_it(execute: Any) -> None:
    execute()
    assert why(execute, "join", "seed=9") == "changed: `seed`"
    assert why(execute, "join", "seed=9", "join.letter=b") == "changed: `letter`, `seed`"


def test_a_mapping_that_was_empty_is_named_once() -> None:
    def identity(settings: dict[str, Any]) -> dict[str, Any]:
        parts: dict[str, Any] = {"stage": "clean", "version": 1, "inputs": {}, "libraries": {}, "outside": None}
        return {**parts, "settings": settings, "seed": None}

    made = SimpleNamespace(stage="clean", extra={"identity": identity({"override": {}, "preset": "web"})})
    store: Any = SimpleNamespace(all=lambda: [SimpleNamespace(manifest=made)])
    for override, name in (
        ({"language": {"languages": ["de"]}}, "override.language.languages"),
        ({"c4": None}, "override.c4"),
    ):
        found = nearest_change("clean", identity({"override": override, "preset": "web"}), {}, store)
        assert found == f"changed: `{name}`"


def test_changed_files_and_versions_are_named(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    execute()
    newer = dataclasses.replace(TABLE["write"], version=2)
    monkeypatch.setitem(TABLE, "write", newer)
    assert why(execute, "write") == "changed: the version of the stage"
    monkeypatch.setitem(TABLE, "write", dataclasses.replace(newer, version=1, outside=lambda config: ["other"]))
    assert why(execute, "write") == "changed: the files it reads"
    monkeypatch.setitem(TABLE, "write", dataclasses.replace(newer, version=1, libraries=("numpy",)))
    assert why(execute, "write") == "changed: the version of numpy"


def test_another_input_is_named(execute: Any) -> None:
    execute()
    execute("write.letter=b", until="write")
    assert why(execute, "double", "write.letter=b") == "changed: its input documents"


def test_an_artifact_without_a_stored_identity_is_compared_by_its_settings(execute: Any) -> None:
    run, _ = execute()
    file = run.artifact_folder("join") / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["extra"] = {}
    file.write_text(json.dumps(manifest))
    assert why(execute, "join", "join.letter=b") == "changed: `letter`"
    assert why(execute, "join", "seed=9") == "inputs or versions changed"
