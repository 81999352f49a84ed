"""Reads the records of a run from its files: the plan, the events, the manifests and the metrics.

The files alone decide the records: two reads give the same records. All times are from the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.artifacts.run_files import read_events, read_plan
from bessemer.errors import RecipeError
from bessemer.recipe import yaml
from bessemer.recipe.inputs import kind_of

COST = "cost/"
RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
_ENDINGS = {"finished": FINISHED, "failed": FAILED, "stopped": KILLED}


@dataclass(frozen=True)
class Input:
    """An artifact that a stage read."""

    stage: str
    kind: str
    fingerprint: str
    folder: Path


@dataclass
class StageRecord:
    """One stage of a run. `generation` is the number of times that `--rerun` discarded it in this run."""

    name: str
    kind: str
    produces: str
    fingerprint: str
    position: int
    folder: Path
    config: dict[str, Any]
    inputs: list[Input]
    log: Path
    state: str = "waiting"
    """`waiting`, `reused`, or a status of MLflow: `RUNNING`, `FINISHED`, `FAILED`, `KILLED`."""
    started: int = 0
    ended: int | None = None
    error: str = ""
    generation: int = 0

    @property
    def done(self) -> bool:
        return self.state in ("reused", FINISHED)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The artifact's manifest; empty before the stage ends and after `gc` has removed the artifact."""
        try:
            return (storage.read_json(self.folder / "manifest.json") or {}) if self.done else {}
        except ValueError:  # damaged: the plan of the next run reports it
            return {}

    def metric_files(self) -> list[Path]:
        """The files with step metrics, one per attempt, oldest first."""
        return sorted((self.folder / "metrics").glob("*.jsonl"))

    def headline(self) -> dict[str, float]:
        """Counts and headline metrics of the finished artifact."""
        counts = self.manifest.get("counts") or {}
        names = ("documents_in", "created", "documents_out", "removed")
        found = {f"data/{name}": float(counts[name]) for name in names if name in counts}
        return found | {name: float(value) for name, value in self.manifest.get("metrics", {}).items()}

    @property
    def finished_at(self) -> int:
        """Time at which the artifact was made, in milliseconds. A reused artifact was made by an earlier run."""
        return milliseconds(self.manifest["created_at"])


@dataclass
class RunRecord:
    """One run with its stages, in the plan's order."""

    name: str
    recipe: str
    folder: Path
    stages: list[StageRecord]
    status: str = RUNNING
    started: int = 0
    ended: int | None = None
    command: str = ""
    error: str = ""
    attempts: int = 0
    git_commit: str | None = None
    git_dirty: bool = False

    def totals(self) -> dict[str, float]:
        """The metrics that are summed over all stages, reused ones included: the costs, by currency."""
        found: dict[str, float] = {}
        for stage in self.stages:
            for name, value in stage.headline().items():
                if name.startswith(COST):
                    found[name] = found.get(name, 0.0) + value
        return found

    def settings(self) -> dict[str, Any]:
        """The settings of the recipe and, by name, of each stage, with all defaults."""
        path = self.folder / "resolved.yaml"
        try:
            resolved = yaml.parse(path.read_text(encoding="utf-8")).value if path.exists() else None
        except (RecipeError, UnicodeDecodeError):  # damaged
            resolved = None
        own = {name: value for name, value in (resolved or {}).items() if name != "stages"}
        return own | {stage.name: stage.config for stage in self.stages}


def version(folder: Path) -> str:
    """A text that changes if an ended run has anything new to record. Costs only a few file sizes."""
    events, report, sweep = (_size(folder / name) for name in ("events.jsonl", "report.html", "sweep.json"))
    trials = sum(_size(path) for path in folder.glob("trials/*/events.jsonl"))
    return f"{events}/{report}/{sweep}/{trials}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def read_run(folder: Path, root: Path) -> RunRecord:
    """Reads the run in `folder`, whose artifacts lie under the storage path `root`.

    A sweep is a run too. Its stages are the ones that its trials share; their events are in its folder `shared`. Each
    trial is a run inside the folder of the sweep.
    """
    plan = read_plan(folder)
    shared = folder / "shared"
    stages: dict[str, StageRecord] = {}
    for position, planned in enumerate(plan["stages"]):
        stages[planned["name"]] = StageRecord(
            name=planned["name"],
            kind=planned["kind"],
            produces=planned["produces"],
            fingerprint=planned["fingerprint"],
            position=position,
            folder=root / "artifacts" / planned["kind"] / planned["fingerprint"],
            config=planned["config"],
            inputs=[
                Input(source, kind_of(kind), stages[source].fingerprint, stages[source].folder)
                for kind, source in planned["inputs"].items()
            ],
            log=(shared if shared.is_dir() else folder) / "logs" / f"{planned['name']}.txt",
        )
    run = RunRecord(folder.relative_to(root).as_posix(), plan["recipe"], folder, list(stages.values()))
    for event in read_events(folder):
        _apply(run, stages, event)
    for event in read_events(shared):
        if not event["event"].startswith("run_"):
            _apply(run, stages, event)
    if run.status == RUNNING and lease.holder(folder) is None:
        run.status = KILLED  # it died without an event
        run.ended = run.ended or int((folder / "events.jsonl").stat().st_mtime * 1000)
        for stage in run.stages:
            if stage.state == RUNNING:
                stage.state, stage.ended = KILLED, run.ended
    return run


def _apply(run: RunRecord, stages: dict[str, StageRecord], event: dict[str, Any]) -> None:
    scope, _, change = event["event"].partition("_")
    time = milliseconds(event["time"])
    if scope == "run":
        if change == "started":
            run.started = run.started or time
            run.status, run.ended, run.error, run.command = RUNNING, None, "", event.get("command", "")
            run.attempts += 1
            run.git_commit, run.git_dirty = event.get("git_commit"), event.get("git_dirty", False)
        else:
            run.status, run.ended, run.error = _ENDINGS[change], time, event.get("error", "")
    elif stage := stages.get(event.get("stage", "")):
        if change == "started":
            stage.started = stage.started or time
            stage.state, stage.ended, stage.error = RUNNING, None, ""
        elif change == "discarded":
            stage.generation += 1
            stage.started, stage.state = 0, "waiting"
        elif change == "reused":
            # If an earlier attempt of this run started the stage, the run itself made the artifact: it is not reused.
            stage.state, stage.ended = (FINISHED, stage.ended or time) if stage.started else ("reused", None)
        elif change in _ENDINGS:
            stage.state, stage.ended, stage.error = _ENDINGS[change], time, event.get("error", "")


def read_points(path: Path, offset: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (offset after the line, point) for each complete line of a metrics file, from `offset` on."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            if (point := storage.parse_line(line)) is not None:  # None: torn by a crash
                yield offset, point


def milliseconds(time: str) -> int:
    """Converts an ISO 8601 time to milliseconds since 1970."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)
