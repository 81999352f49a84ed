"""Writes the folder of a fake run, and reads its records from an MLflow store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.recipe import yaml
from bessemer.tracking import store
from bessemer.tracking.synchronise import RunMirror

BEGIN = 1_800_000_000


@dataclass
class FakeRun:
    """A run with three stages: `read` (documents), `pretrain` (model), `evaluate` (scores)."""

    root: Path
    name: str = "toy-20260101-000000-0000"
    inside: str = ""
    clock: int = BEGIN
    config: dict[str, Any] = field(default_factory=lambda: {"learning_rate": 1e-3, "layers": [1, 2], "note": None})

    def __post_init__(self) -> None:
        kinds = [("read", "ingest", "documents", {}), ("pretrain", "pretrain", "model", {"documents": "read"})]
        kinds.append(("evaluate", "evaluate", "scores", {"model": "pretrain"}))
        stages = [
            {
                "name": name,
                "kind": kind,
                "produces": produces,
                "fingerprint": self.fingerprint(name),
                "inputs": inputs,
                "config": self.config if name == "pretrain" else {},
            }
            for name, kind, produces, inputs in kinds
        ]
        self.stages = {stage["name"]: stage for stage in stages}
        self.folder.mkdir(parents=True)
        storage.write_json(self.folder / "plan.json", {"recipe": "toy", "fingerprint": "f", "stages": stages})
        settings = {"name": "toy", "seed": 1, "tracking": {"uri": None}, "stages": {}}
        storage.write_text(self.folder / "resolved.yaml", yaml.dump(settings))
        storage.write_text(self.folder / "recipe.yaml", "name: toy\n")
        self.event("run_started", run=self.name, recipe="toy", command="bessemer run toy.yaml", attempt=1)

    @property
    def folder(self) -> Path:
        return self.root / self.inside / self.name

    def fingerprint(self, stage: str) -> str:
        return {"read": "a", "pretrain": "b", "evaluate": "c"}[stage] * 32

    def artifact(self, stage: str) -> Path:
        return self.root / "artifacts" / self.stages[stage]["kind"] / self.fingerprint(stage)

    def time(self) -> str:
        self.clock += 1
        return datetime.fromtimestamp(self.clock, UTC).isoformat(timespec="milliseconds")

    def event(self, event: str, stage: str = "", **facts: Any) -> None:
        facts |= {"stage": stage, "fingerprint": self.fingerprint(stage)} if stage else {}
        storage.append_line(self.folder / "events.jsonl", {"time": self.time(), "event": event, **facts})

    def point(self, stage: str, attempt: int, step: int, **metrics: float) -> None:
        self.clock += 1
        line = {
            "step": step,
            "timestamp": self.clock * 1000,
            "metrics": {k.replace("__", "/"): v for k, v in metrics.items()},
        }
        storage.append_line(self.artifact(stage) / "metrics" / f"{attempt:04d}.jsonl", line)

    def seal(self, stage: str, metrics: dict[str, float] | None = None, counts: dict[str, Any] | None = None) -> None:
        (self.artifact(stage) / "data").mkdir(parents=True, exist_ok=True)
        manifest = {
            "created_at": self.time(),
            "seconds": 12.5,
            "files": [{"path": "data/x", "size": 7, "sha256": ""}],
            "counts": counts,
            "metrics": metrics or {},
            "resolved": {"micro_batch_size": 8} if stage == "pretrain" else {},
        }
        storage.write_json(self.artifact(stage) / "manifest.json", manifest)

    def whole(self) -> None:
        """Writes the events and artifacts of a run in which every stage finishes."""
        self.event("stage_started", "read", attempt=1)
        counts = {"documents_in": 0, "created": 5, "documents_out": 3, "removed": 2, "removed_by_rule": {"short": 2}}
        self.seal("read", counts=counts)
        self.event("stage_finished", "read")
        self.event("stage_started", "pretrain", attempt=1)
        for step in range(1, 4):
            self.point("pretrain", 1, step, train__loss=4.0 - step)
        self.seal("pretrain", {"validation/bits_per_byte": 1.9, "train/loss": 1.0})
        self.event("stage_finished", "pretrain")
        self.event("stage_started", "evaluate", attempt=1)
        self.seal("evaluate", {"validation/bits_per_byte": 1.8})
        self.event("stage_finished", "evaluate")
        self.event("run_finished")


class Recorded:
    """An MLflow store and its records of the recipe `toy`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = store.resolve_uri(None, root)
        self.client = store.connect(self.uri)

    def mirror(self, run: FakeRun, tags: dict[str, str] | None = None, client: Any = None) -> RunMirror:
        client = client or self.client
        return RunMirror(client, self.uri, run.folder, self.root, "toy", tags or {}, register=True)

    def runs(self) -> dict[str, Any]:
        experiment = self.client.get_experiment_by_name("toy")
        return (
            {run.info.run_name: run for run in self.client.search_runs([experiment.experiment_id])}
            if experiment
            else {}
        )

    def points(self, run_name: str, key: str) -> list[tuple[int, float]]:
        run_id = self.runs()[run_name].info.run_id
        return [(point.step, point.value) for point in self.client.get_metric_history(run_id, key)]
