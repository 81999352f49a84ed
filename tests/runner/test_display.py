"""The estimated time left depends on the current rate, not on the start or the average."""

from __future__ import annotations

from typing import Any

import pytest

from bessemer.runner import display
from bessemer.runner.display import StageProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 1000.0

    monkeypatch.setattr(display.time, "monotonic", lambda: Clock.now)
    return Clock


def running() -> StageProgress:
    return StageProgress("pretrain", state="running", unit="steps", total=1000.0, started=1000.0)


def test_a_slow_start_is_not_part_of_the_rate(clock: Any) -> None:
    stage = running()
    clock.now += 60  # Ray starts, the model is compiled
    for step in range(3):
        stage.advance(step, 1000, "steps")
        clock.now += 1
    assert stage.rate == 1.0
    assert stage.describe() == "2 of 1000 steps, 1 steps/s, 16m 38s left"


def test_the_rate_follows_a_change_within_half_a_minute(clock: Any) -> None:
    stage = running()
    for step in range(100):
        stage.advance(step, 1000, "steps")
        clock.now += 1
    for step in range(100, 460, 10):
        stage.advance(step, 1000, "steps")
        clock.now += 1
    assert stage.rate == pytest.approx(10, rel=0.05)


def test_rare_reports_have_a_rate_and_a_new_count_begins_anew(clock: Any) -> None:
    stage = running()
    for step in (0, 1, 2):
        stage.advance(step, 1000, "steps")
        clock.now += 100
    assert stage.rate == pytest.approx(0.01)
    stage.advance(1, 50, "parts")
    assert stage.rate == 0
    assert "left" not in stage.describe()
