"""A damaged file of one run costs no more than its own content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bessemer import storage
from bessemer.artifacts.run_files import EVENTS, PLAN, damaged_files, read_events, read_plan

TIME = "2026-01-01T00:00:00.000Z"
MARK = "f" * 32
STAGE = {"name": "write", "kind": "ingest", "fingerprint": MARK, "produces": "documents", "inputs": {}, "config": {}}
DAMAGE = [
    b"", b"null", b"[]", b"{", b'{"stages": 3}', b'{"stages": [3]}', b'{"stages": [{"kind": 1}]}', b"\xff",
    b"[" * 10**5,
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of one stage."""
    folder = tmp_path / "toy-20260101-000000-0000"
    storage.write_json(folder / PLAN, {"recipe": "toy", "fingerprint": "x", "stages": [STAGE]})
    storage.append_line(folder / EVENTS, {"time": TIME, "event": "run_started", "recipe": "toy"})
    facts = {"stage": "write", "kind": "ingest", "fingerprint": MARK}
    storage.append_line(folder / EVENTS, {"time": TIME, "event": "stage_started", **facts})
    return folder


def test_whole_files_are_read_as_they_are(folder: Path) -> None:
    assert read_plan(folder)["stages"] == [STAGE]
    assert [event["event"] for event in read_events(folder)] == ["run_started", "stage_started"]
    assert damaged_files(folder) == []


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_plan_is_rebuilt_from_the_events(folder: Path, content: bytes) -> None:
    (folder / PLAN).write_bytes(content)
    plan = read_plan(folder)
    assert (plan["recipe"], plan["fingerprint"]) == ("toy", "")
    assert plan["stages"] == [STAGE | {"produces": ""}], "the artifact that says what it is has no manifest yet"
    assert damaged_files(folder) == [PLAN]


def test_a_run_without_files_has_no_stages(tmp_path: Path) -> None:
    assert read_plan(tmp_path) == {"recipe": "", "stages": []}
    assert read_events(tmp_path) == []
    assert damaged_files(tmp_path) == []


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_line_swallows_no_other_event(folder: Path, cut: int) -> None:
    whole = (folder / EVENTS).read_bytes()
    event = {"time": TIME, "event": "run_finished"}
    (folder / EVENTS).write_bytes(whole[:-cut])
    storage.append_line(folder / EVENTS, event)
    assert read_events(folder)[-1] == event
    (folder / EVENTS).write_bytes(whole[:-cut] + json.dumps(event).encode() + b"\n")  # no line end between the two
    assert read_events(folder)[-1] == event
    (folder / EVENTS).write_bytes(whole[:-cut] + b"\x00" * 100)  # a file system's hole after a power failure
    storage.append_line(folder / EVENTS, event)
    assert read_events(folder)[-1] == event


@pytest.mark.parametrize(
    "line",
    [
        b"null", b"3", b"[1]", b"{}", b'{"event": "run_finished"}', b'{"time": 3, "event": "run_finished"}',
        b'{"time": "yesterday", "event": "run_finished"}', b'{"time": "%s", "event": null}' % TIME.encode(),
        b'{"time": "%s", "event": "stage_finished"}' % TIME.encode(), b"\xff\xfe", b"[" * 10**5, b'{"' * 10**4,
    ],
)  # fmt: skip
def test_a_line_that_is_not_an_event_is_left_out(folder: Path, line: bytes) -> None:
    before = read_events(folder)
    (folder / EVENTS).write_bytes(line + b"\n" + (folder / EVENTS).read_bytes() + line + b"\n")
    assert read_events(folder) == before


@pytest.mark.parametrize("name", ["tracking.json", "trial.json", "sweep.json"])
def test_damaged_files_are_named(folder: Path, name: str) -> None:
    (folder / name).write_text('{"half')
    assert damaged_files(folder) == [name]
    storage.write_json(folder / name, {})
    assert damaged_files(folder) == []
