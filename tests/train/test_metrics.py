"""The metrics log of a run holds each figure once, with the time at which it was first reached."""

from __future__ import annotations

from pathlib import Path

from bessemer import storage
from bessemer.train.metrics import MetricsLog


def test_what_another_attempt_recorded_is_not_recorded_again(tmp_path: Path):
    first = MetricsLog(tmp_path / "0001.jsonl")
    first.write(1, {"train/loss": 3.0})
    first.write(2, {"train/loss": 2.5, "validation/loss": 2.6})
    second = MetricsLog(tmp_path / "0002.jsonl")
    second.write(2, {"train/loss": 2.5, "validation/loss": 2.6})
    second.write(2, {"train/grad_norm": 1.0})
    second.write(3, {"train/loss": 2.0})
    lines = list(storage.read_lines(tmp_path / "0002.jsonl"))
    assert [(line["step"], line["metrics"]) for line in lines] == [
        (2, {"train/grad_norm": 1.0}),
        (3, {"train/loss": 2.0}),
    ]


def test_a_line_that_a_killed_worker_began_spoils_no_other(tmp_path: Path):
    file = tmp_path / "0001.jsonl"
    MetricsLog(file).write(1, {"train/loss": 3.0})
    with file.open("a") as handle:
        handle.write('{"step": 2, "metr')
    again = MetricsLog(file)
    again.write(1, {"train/loss": 3.0})
    again.write(2, {"train/loss": 2.5})
    assert [line["step"] for line in storage.read_lines(file)] == [1, 2]
