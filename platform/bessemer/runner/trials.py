"""Reads the states of a sweep's trials from the files in its folder.

A finished sweep has its result in `sweep.json`. While it runs, a trial's metric is the last one in the metrics of its
artifacts. Costs one read of each trial's events and metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.recipe import yaml
from bessemer.recipe.sweep import SweepSettings
from bessemer.runner.runs import Run
from bessemer.runner.trial import read_progress


@dataclass(frozen=True)
class TrialState:
    """One trial that was started: the fields that it sets, its state, its last metric and the seconds that it took."""

    name: str
    assignments: dict[str, Any]
    status: str
    metric: float | None
    seconds: float | None
    note: str
    """The error of a failed trial, or the progress of a running one."""


@dataclass(frozen=True)
class SweepState:
    """A sweep: its settings and the trials that were started."""

    settings: SweepSettings
    shared: Run
    """The run of the stages that all trials share."""
    trials: Sequence[TrialState]

    @property
    def num_ended(self) -> int:
        """Number of trials that have ended by themselves, by an error or by the scheduler."""
        return sum(trial.status not in ("running", "stopped", "interrupted") for trial in self.trials)

    @property
    def best_trial(self) -> str | None:
        """The trial with the best finite metric so far; None if no trial has one."""
        sign = 1 if self.settings.mode == "min" else -1
        ranked = [
            (sign * trial.metric, trial.name)
            for trial in self.trials
            if trial.metric is not None and trial.status != "failed"
        ]
        return min(ranked)[1] if ranked else None

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.settings.metric,
            "mode": self.settings.mode,
            "num_trials": self.settings.num_trials,
            "best_trial": self.best_trial,
            "trials": [asdict(trial) for trial in self.trials],
        }


def sweep_state(run: Run) -> SweepState | None:
    """The state of a sweep; None for a run that is not one."""
    if not any((run.folder / name).exists() for name in ("shared", "trials", "sweep.json")):
        return None
    resolved, problems = _resolved(run.folder / "resolved.yaml")
    if problems or not resolved.get("sweep"):
        return None
    settings = SweepSettings(**resolved["sweep"])
    results = {trial["name"]: trial for trial in (storage.read_json(run.folder / "sweep.json") or {}).get("trials", ())}
    folders = sorted(file.parent for file in run.folder.glob("trials/*/trial.json"))
    trials = [_state(Run(folder, run.root), settings.metric, results.get(folder.name)) for folder in folders]
    return SweepState(settings, Run(run.folder / "shared", run.root, run.folder), trials)


def _resolved(path: Path) -> tuple[dict[str, Any], bool]:
    """The whole recipe of a run, and whether the file cannot be read."""
    if not path.exists():
        return {}, True
    source = yaml.parse(path.read_text(encoding="utf-8"), str(path))
    return (source.value, False) if isinstance(source.value, dict) and not source.problems else ({}, True)


def _state(trial: Run, metric: str, result: dict[str, Any] | None) -> TrialState:
    status = trial.status()
    errors = [event["error"] for event in trial.events() if event["event"] == "run_failed"]
    note = errors[-1] if errors and status == "failed" else read_progress(trial.folder) if status == "running" else ""
    if result:
        status, value = result["status"], result["metric"]
    else:
        status = "stopped early" if status == "stopped" else status
        value = _last(trial, metric)
    finite = value if value is not None and math.isfinite(value) else None
    return TrialState(trial.name, storage.read_json(trial.folder / "trial.json"), status, finite, trial.elapsed(), note)


def _last(trial: Run, metric: str) -> float | None:
    """The last value of the metric, from the last stage of the trial that records it."""
    for stage in reversed(trial.plan()["stages"]):
        folder = trial.artifact_folder(stage["name"])
        manifest = storage.read_json(folder / "manifest.json")
        if manifest and metric in manifest["metrics"]:
            return float(manifest["metrics"][metric])
        found = [
            (line["timestamp"], line["metrics"][metric])
            for file in sorted((folder / "metrics").glob("*.jsonl"))
            for line in storage.read_lines(file)
            if metric in line["metrics"]
        ]
        if found:
            return float(max(found)[1])
    return None
