"""A trial reports each value of its metric once, and ends by itself, by a failure, or on request."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.runner.toy import HOOKS

from bessemer import storage
from bessemer.errors import InputError
from bessemer.runner import trial as runner
from bessemer.runner.runs import Run
from bessemer.runner.trial import Trial, read_progress


def point(draft: Any, step: int, **metrics: float) -> None:
    line = {"step": step, "timestamp": time.time() * 1000, "metrics": metrics}
    storage.append_line(draft.metrics_file, line)


def steps(*values: float) -> Any:
    def record(draft: Any, context: Any) -> None:
        for step, value in enumerate(values, 1):
            point(draft, step, loss=value)

    return record


@pytest.fixture
def make_trial(execute: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    recipe, _ = execute.plan()
    monkeypatch.setattr(runner, "PROGRESS_SECONDS", 0.0)

    def make(stage: str | None = None, metric: str = "loss", **values: Any) -> Trial:
        monkeypatch.setattr(runner, "measuring_stage", lambda recipe, metric: stage)
        values = {name.replace("__", "."): value for name, value in values.items()}
        return Trial(recipe, tmp_path / "runs" / "sweep" / "trials" / "t", values, metric=metric)

    return make


def test_each_value_is_reported_once_and_the_run_is_that_of_the_changed_recipe(make_trial: Any) -> None:
    HOOKS["loss"] = steps(3.0, 2.0, 1.0)
    trial = make_trial(double__hook="loss", write__letter="b")
    assert list(trial.reports()) == [3.0, 2.0, 1.0]
    assert trial.run.status() == "finished"
    assert (trial.run.artifact_folder("write") / "data" / "text").read_text() == "b"


def test_two_stages_with_the_same_metric_and_steps_are_told_apart(make_trial: Any) -> None:
    HOOKS["first"], HOOKS["second"] = steps(9.0, 8.0), steps(3.0, 2.0)
    both = {"double__hook": "first", "join__hook": "second"}
    assert list(make_trial("join", **both).reports()) == [3.0, 2.0]
    assert sorted(make_trial(None, write__letter="c", **both).reports()) == [2.0, 3.0, 8.0, 9.0]


def test_a_finished_artifact_is_reported_as_if_it_had_just_been_made(make_trial: Any) -> None:
    HOOKS["loss"] = steps(3.0, 2.0)
    assert list(make_trial(double__hook="loss").reports()) == [3.0, 2.0]
    again = make_trial(double__hook="loss")
    assert list(again.reports()) == [3.0, 2.0]
    assert not any(event["event"] == "stage_started" for event in again.run.events()[-4:])


def test_a_metric_that_only_the_finished_artifact_states_is_reported(make_trial: Any) -> None:
    assert list(make_trial("join", "data/length").reports()) == [4.0]
    assert list(make_trial("join", "data/lenth").reports()) == []


def test_the_old_curve_of_an_artifact_that_is_made_again_is_not_reported(execute: Any, make_trial: Any) -> None:
    """The bytes of an input changed under the same fingerprint, so the stage runs again in the same folder."""
    HOOKS["loss"] = steps(3.0, 2.0)
    list(make_trial(double__hook="loss").reports())
    HOOKS["more"] = lambda draft, context: (draft.data / "more").write_text(str(time.time_ns()))
    execute("write.hook=more", rerun=("write",), until="write")
    HOOKS["loss"] = steps(5.0, 4.0)
    assert list(make_trial(double__hook="loss").reports()) == [5.0, 4.0]


def test_a_failure_is_raised_after_the_values_before_it(make_trial: Any) -> None:
    def fail(draft: Any, context: Any) -> None:
        point(draft, 1, loss=2.0)
        raise InputError("the input is bad")

    HOOKS["fail"] = fail
    trial = make_trial(double__hook="fail")
    reports = trial.reports()
    assert next(reports) == 2.0
    with pytest.raises(InputError, match="the input is bad"):
        next(reports)
    assert trial.run.status() == "failed"


def test_a_stopped_trial_is_recorded_as_stopped_and_not_as_failed(make_trial: Any) -> None:
    def wait(draft: Any, context: Any) -> None:
        context.progress(1, 9, "steps")
        point(draft, 1, loss=2.0)
        for _ in range(300):
            context.check_stop()
            time.sleep(0.1)

    HOOKS["wait"] = wait
    trial = make_trial(double__hook="wait")
    reports = trial.reports()
    assert next(reports) == 2.0
    assert read_progress(trial.run.folder) == "double: 1 of 9 steps"
    trial.stop(10.0)
    assert trial.run.status() == "stopped"
    assert list(reports) == []
    assert Run(trial.run.folder, trial.run.root).stages()["double"]["event"] == "stage_stopped"
