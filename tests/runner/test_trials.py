"""The state of a sweep is read from its files, while it runs and afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bessemer import cli, storage
from bessemer.artifacts import lease
from bessemer.recipe import yaml
from bessemer.runner import runs
from bessemer.runner.runs import Run
from bessemer.runner.trials import SweepState, sweep_state

PLAN = {"recipe": "x", "stages": [{"name": "train", "kind": "train", "produces": "model", "fingerprint": "f"}]}


def make_run(folder: Path, fingerprint: str) -> Run:
    """A run of one stage that has started."""
    run = Run(folder)
    storage.write_json(folder / "plan.json", json.loads(json.dumps(PLAN).replace('"f"', f'"{fingerprint}"')))
    runs.start(run, command="bessemer sweep x.yaml", attempt=1)
    return run


def make_trial(sweep: Run, name: str, *values: float) -> Run:
    """A trial that has reported `values`."""
    trial = make_run(sweep.folder / "trials" / name, name)
    storage.write_json(trial.folder / "trial.json", {"train.rate": 0.123456789, "seed": 1})
    file = sweep.root / "artifacts" / "train" / name / "metrics" / "a.jsonl"
    for step, value in enumerate(values, 1):
        storage.append_line(file, {"step": step, "timestamp": step, "metrics": {"loss": value, "speed": 1.0}})
    return trial


@pytest.fixture
def sweep(tmp_path: Path) -> Run:
    run = make_run(tmp_path / "x-20260101-000000-0000", "base")
    space = {"train.rate": {"uniform": [0.1, 0.2]}, "seed": {"grid": [1, 2]}}
    settings = {"metric": "loss", "mode": "min", "num_samples": 3, "param_space": space}
    storage.write_text(run.folder / "resolved.yaml", yaml.dump({"name": "x", "sweep": settings}))
    make_run(run.folder / "shared", "base").record("stage_finished", stage="train", seconds=2.0)
    return run


def state(sweep: Run) -> SweepState:
    found = sweep_state(sweep)
    assert found is not None
    return found


def test_trials_of_a_running_sweep(sweep: Run) -> None:
    make_trial(sweep, "a", 3.0, 2.0).record("run_stopped", error="stopped as asked")
    make_trial(sweep, "b", 1.0).record("run_failed", error="the disk burns")
    running = make_trial(sweep, "c", 2.5)
    make_trial(sweep, "d", float("nan")).record("run_finished")
    storage.write_json(running.folder / "progress.json", {"stage": "train", "text": "12 of 90 steps"})
    with lease.hold(running.folder, "c", waiting=lambda owner: None):
        found = {trial.name: trial for trial in state(sweep).trials}
    assert [(trial.status, trial.metric) for trial in found.values()] == [
        ("stopped early", 2.0), ("failed", 1.0), ("running", 2.5), ("finished", None),
    ]  # fmt: skip
    assert (found["b"].note, found["c"].note) == ("the disk burns", "train: 12 of 90 steps")
    assert found["a"].assignments == {"train.rate": 0.123456789, "seed": 1}
    assert found["a"].seconds is not None
    assert state(sweep).best_trial == "a", "failed trials and NaN are never the best"


def test_a_finished_sweep_has_the_states_of_its_result(sweep: Run) -> None:
    make_trial(sweep, "a", 3.0).record("run_finished")
    results = [{"name": "a", "assignments": {}, "status": "stopped early", "metric": 2.75}]
    storage.write_json(sweep.folder / "sweep.json", {"metric": "loss", "trials": results, "best": "a"})
    (trial,) = state(sweep).trials
    assert (trial.status, trial.metric) == ("stopped early", 2.75)
    assert sweep.headline() == ("loss", 2.75)


def test_a_run_is_not_a_sweep(tmp_path: Path) -> None:
    run = make_run(tmp_path / "x-20260101-000000-0000", "base")
    storage.write_text(run.folder / "resolved.yaml", yaml.dump({"name": "x", "sweep": {"metric": "loss"}}))
    assert sweep_state(run) is None


def test_status_shows_the_trials(sweep: Run) -> None:
    make_trial(sweep, "a", 3.0, 2.0).record("run_finished")
    make_trial(sweep, "b", 2.25).record("run_failed", error="the \x1b[31mdisk burns")

    def status(*options: str) -> Any:
        arguments = ["status", "@last", "--storage-path", str(sweep.root), *options]
        return CliRunner().invoke(cli.bessemer, arguments, catch_exceptions=False)

    shown = status().stdout
    assert "2 of 6 trials have begun" in shown
    assert [line.split()[:5] for line in shown.splitlines()[-3:-1]] == [
        ["a", "0.123457", "1", "finished", "2"],
        ["b", "0.123457", "1", "failed", "2.25"],
    ]
    assert "the \\x1b[31mdisk burns" in shown
    assert shown.endswith("best: a\n")
    assert "train  finished" in shown, "the shared stages"
    found = json.loads(status("--json").stdout)["sweep"]
    assert (found["best_trial"], found["metric"], found["num_trials"]) == ("a", "loss", 6)
    assert found["trials"][0]["assignments"]["train.rate"] == 0.123456789


def test_runs_counts_the_ended_trials_of_a_sweep(sweep: Run) -> None:
    make_trial(sweep, "a", 3.0).record("run_finished")
    make_trial(sweep, "b", 2.0).record("run_failed", error="the disk burns")
    make_trial(sweep, "c", 2.5)  # killed
    listed = CliRunner().invoke(cli.bessemer, ["runs", "--storage-path", str(sweep.root), "--json"]).stdout
    assert [run["stages"] for run in json.loads(listed)] == ["2/6 trials"]


def test_logs_shows_the_stages_of_a_sweep_and_of_its_trials(sweep: Run) -> None:
    trial = make_trial(sweep, "a", 3.0)
    storage.write_text(sweep.folder / "shared" / "logs" / "train.txt", "a shared line\n")
    storage.write_text(trial.log_file("train"), "a trial's line\n")
    storage.write_text(sweep.log_file("ray"), "the raylet's line\n")
    storage.write_text(trial.log_file("ray"), "")

    def logs(*options: str) -> str:
        return CliRunner().invoke(cli.bessemer, ["logs", "--storage-path", str(sweep.root), *options]).stdout

    ray = "== ray\nthe raylet's line\n"
    assert logs() == f"{ray}== shared/train\na shared line\n== trials/a/train\na trial's line\n"
    assert logs("--stage", "ray") == ray
    assert logs("--stage", "trian") == ""


def test_status_shows_an_error_outside_the_stages(sweep: Run) -> None:
    sweep.record("run_failed", error="Ray does not start")
    shown = CliRunner().invoke(cli.bessemer, ["status", "--storage-path", str(sweep.root)]).stdout
    assert shown.splitlines()[1] == "error: Ray does not start"
