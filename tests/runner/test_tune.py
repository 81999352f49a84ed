"""The resources of a trial fit on one node, each event of a trial has a line, and a stop request reaches all trials."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bessemer.errors import InputError
from bessemer.runner.runs import Run
from bessemer.runner.sweep import _collect
from bessemer.runner.tune import ENDED, Progress, allot


@pytest.mark.parametrize(
    ("cores", "trials", "expected"),
    [
        ([2], 1, (2, 1)),
        ([8], 2, (4, 2)),
        ([4, 4, 4, 4], 1, (4, 1)),
        ([4, 4], 4, (2, 4)),
        ([0, 8], 2, (4, 2)),
        ([16, 2], 3, (5, 3)),
        ([2], 5, (1, 2)),
        ([], 2, (1, 1)),
    ],
)
def test_a_trial_never_asks_for_more_than_one_node_has(
    cores: list[int], trials: int, expected: tuple[int, int]
) -> None:
    resources, fitting = allot([{"CPU": float(n)} for n in cores], trials, inside=True)
    assert (resources["CPU"], fitting) == expected
    assert "GPU" not in resources


def test_trials_share_the_accelerators() -> None:
    assert allot([{"CPU": 8, "GPU": 2}], 2, inside=True) == ({"CPU": 4, "GPU": 1}, 2)
    assert allot([{"CPU": 8, "GPU": 1}], 4, inside=True) == ({"CPU": 2, "GPU": 0.25}, 4)


def test_a_trial_whose_stages_start_workers_leaves_them_the_cores() -> None:
    assert allot([{"CPU": 2}], 1, inside=False) == ({"CPU": 0}, 1)


def trial(name: str, **result: Any) -> Any:
    return SimpleNamespace(trial_id=name, status="RUNNING", config={"seed": 3}, last_result=result)


@pytest.fixture
def sweep(tmp_path: Path) -> Run:
    for name in ("a", "b", "c"):
        Run(tmp_path / "trials" / name).record("run_started")
    return Run(tmp_path)


def test_every_end_of_a_trial_has_a_line(sweep: Run) -> None:
    said: list[str] = []
    progress = Progress(sweep, 4, "loss", "min", said.append, lambda: False)
    first, second, third = trials = [trial("a", loss=2.5, **{ENDED: True}), trial("b", loss=math.nan), trial("c")]
    for one in trials:
        progress.on_trial_start(0, trials, one)
    progress.on_trial_complete(1, trials, first)
    progress.on_trial_complete(1, trials, second)
    Run(sweep.folder / "trials" / "c").record("run_failed", error="the disk is full")
    progress.on_trial_error(1, trials, third)
    assert said[0] == "trial 1 of 4: started with seed 3"
    assert said[3].startswith("trial 1 of 4: finished in ")
    assert said[3].endswith("loss 2.5, the best so far")
    assert "stopped early" in said[4]
    assert said[4].endswith("loss nan")
    assert "failed" in said[5]
    assert "the disk is full" in said[5]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("none of 3 rows can be used"), "failed in 0.0s: none of 3 rows can be used"),
        (SimpleNamespace(cause=InputError("no file")), "failed in 0.0s: no file"),
        (None, "failed in 0.0s: its process died"),
    ],
)
def test_a_trial_that_fails_before_its_run_begins_says_why(tmp_path: Path, error: Any, said: str) -> None:
    lines: list[str] = []
    progress = Progress(Run(tmp_path), 1, "loss", "min", lines.append, lambda: False)
    one = SimpleNamespace(trial_id="a", config={"seed": 3}, get_pickled_error=lambda: error)
    progress.on_trial_start(0, [one], one)
    progress.on_trial_error(0, [one], one)
    assert lines[-1] == f"trial 1 of 1: {said}"
    assert progress.configs == {"a": {"seed": 3}}


def test_the_results_of_trials_that_failed_early_have_their_values(tmp_path: Path) -> None:
    """Tune has neither values nor metrics for a trial that failed before its first result."""
    for name, end in (("done", "run_finished"), ("cut", "run_finished")):
        Run(tmp_path / "trials" / name).record(end)
    results = [
        SimpleNamespace(path="x/done", error=None, metrics={"loss": 2.0, ENDED: True}),
        SimpleNamespace(path="x/cut", error=None, metrics={"loss": 3.0, ENDED: False}),
        SimpleNamespace(path="x/failed", error=ValueError(), metrics=None),
        SimpleNamespace(path="x/never", error=None, metrics=None),
    ]
    settings = SimpleNamespace(metric="loss", mode="min", param_space={"seed": {}})
    recipe = SimpleNamespace(resolved=lambda: {"seed": 0, "stages": {}})
    planned: Any = SimpleNamespace(settings=settings, recipe=recipe)
    configs = {name: {"seed": np.int64(3)} for name in ("done", "cut", "failed")}
    found = _collect(planned, Run(tmp_path), results, configs)
    assert [(t.name, t.status, t.metric, t.assignments) for t in found.trials] == [
        ("done", "finished", 2.0, {"seed": 3}),
        ("cut", "stopped early", 3.0, {"seed": 3}),
        ("failed", "failed", None, {"seed": 3}),
    ]
    assert type(found.trials[0].assignments["seed"]) is int
    (tmp_path / "stop").touch()
    assert _collect(planned, Run(tmp_path), results, configs).trials[1].status == "stopped"


def test_a_stop_request_is_recorded_at_once_and_reaches_the_trials(sweep: Run) -> None:
    asked = False
    said: list[str] = []
    progress = Progress(sweep, 2, "loss", "min", said.append, lambda: asked)
    trials = [trial("a", loss=1.0), SimpleNamespace(trial_id="b", status="PENDING")]
    progress.on_step_begin(0, trials)
    assert sweep.status() == "interrupted"
    asked = True
    progress.on_step_begin(1, trials)
    progress.on_step_begin(2, trials)
    assert [event["event"] for event in sweep.events()] == ["run_stopped"]
    assert (sweep.folder / "trials" / "a" / "stop").exists()
    assert not (sweep.folder / "trials" / "b" / "stop").exists()
    progress.on_trial_complete(3, trials, trials[0])
    assert "stopped in" not in said
    assert said[-1].startswith("trial 1 of 2: stopped: loss 1")
