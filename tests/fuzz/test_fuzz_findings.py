"""Every input that a fuzzer found passes its check, and the fuzzers find a defect if there is one."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
from tests.fuzz import fuzzer as fuzzing
from tests.fuzz.targets import CPU_SECONDS, TARGETS

from bessemer.child_process import ChildProcess

FOUND = sorted(path for path in fuzzing.FOUND.rglob("*.bin"))


@pytest.fixture(scope="module")
def child() -> ChildProcess:
    return ChildProcess(cpu_seconds=CPU_SECONDS)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_finding_stays_repaired(child: ChildProcess, path: Path) -> None:
    assert fuzzing.failure(child, TARGETS[path.parent.name], path.read_bytes()) == ""


@pytest.mark.parametrize("name", TARGETS)
def test_the_known_inputs_pass(child: ChildProcess, name: str) -> None:
    for content in TARGETS[name].seeds:
        assert fuzzing.failure(child, TARGETS[name], content) == ""


def test_inputs_follow_from_the_seed() -> None:
    first, again, other = (list(itertools.islice(fuzzing.inputs(TARGETS["robots"], seed), 120)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_defect_is_found_shortened_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def check(content: bytes) -> None:
        assert b"\xff\xfe" not in content, "a defect"

    target = dataclasses.replace(TARGETS["robots"], check=check)
    monkeypatch.setitem(TARGETS, "robots", target)
    monkeypatch.setattr(fuzzing, "FOUND", tmp_path)
    monkeypatch.setattr(ChildProcess, "call", lambda self, function, *args: function(*args))
    count, found = fuzzing.fuzz(target, 1, None, 2000)
    assert count == 2000
    ((path, reason),) = found.items()
    assert path.read_bytes() == b"\xff\xfe"
    assert "a defect" in reason
