"""The facts that the report shows, read once from the run's files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from bessemer.artifacts.run_files import read_events
from bessemer.report.charts import FunnelRow
from bessemer.report.curves import Curve, read_curves
from bessemer.report.evaluation import Evaluation
from bessemer.tracking.records import FAILED, RUNNING, RunRecord, StageRecord, read_run


@dataclass(frozen=True)
class Facts:
    """A run and the files that its stages have written so far."""

    run: RunRecord
    folder: Path

    root: Path
    """The storage path. A trial is in the folder `trials` of its sweep."""

    @staticmethod
    def of(folder: Path) -> Facts:
        """Reads the run in `folder`. The artifacts of a run are next to its folder.

        The folder of a trial is `<sweep>/trials/<trial>`; its artifacts are next to the folder of the sweep.
        """
        root = folder.parents[2] if folder.parent.name == "trials" else folder.parent
        return Facts(read_run(folder, root), folder, root)

    @cached_property
    def settings(self) -> dict[str, Any]:
        return self.run.settings()

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return read_events(self.folder)

    @property
    def stages(self) -> list[StageRecord]:
        return self.run.stages

    @property
    def finished(self) -> list[StageRecord]:
        """The stages whose artifact exists, reused ones included."""
        return [stage for stage in self.stages if stage.manifest]

    @property
    def command(self) -> str:
        """The last command that the user gave for this run."""
        commands = [event["command"] for event in self.events if event.get("command")]
        return commands[-1] if commands else ""

    @property
    def host(self) -> str:
        return next((event["host"] for event in reversed(self.events) if event.get("host")), "")

    @property
    def seconds(self) -> float:
        """Time spent in this run's stages, including failed attempts and the running stage."""
        running = sum(self.elapsed(stage.started, None) for stage in self.stages if stage.state == RUNNING)
        return float(sum(event.get("seconds", 0.0) for event in self.events)) + running

    def elapsed(self, started: int, ended: int | None) -> float:
        """Seconds between two times in milliseconds. Without `ended`: up to now if the run is running, else 0."""
        now = self.now if self.run.status == RUNNING else started
        return max(0, (ended or now) - started) / 1000

    @cached_property
    def now(self) -> int:
        """Time at which the report is built, in milliseconds."""
        return time.time_ns() // 10**6

    @property
    def price_per_hour(self) -> float | None:
        price = (self.settings.get("cost") or {}).get("price_per_hour")
        return float(price) if price is not None else None

    @property
    def currency(self) -> str:
        return str((self.settings.get("cost") or {}).get("currency", ""))

    @cached_property
    def funnel(self) -> list[tuple[StageRecord, FunnelRow]]:
        """The stages that count documents, with their counts."""
        rows = []
        for stage in self.finished:
            if counts := stage.manifest["counts"]:
                names = ("documents_in", "created", "documents_out", "removed")
                rows.append((stage, FunnelRow(stage.name, *(counts[name] for name in names))))
        return rows

    @cached_property
    def curves(self) -> list[tuple[StageRecord, dict[str, Curve]]]:
        """The step metrics of each stage that recorded some, finished or not."""
        found = [(s, read_curves(s.metric_files())) for s in self.stages if s.state != "waiting"]
        return [(stage, curves) for stage, curves in found if curves]

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations that wrote scores. An evaluation that failed its requirements wrote them too."""
        ended = [stage for stage in self.stages if stage.manifest or stage.state == FAILED]
        found = [Evaluation(stage.name, stage.folder / "data") for stage in ended]
        return [evaluation for evaluation in found if evaluation.scores]

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Headline metrics of the run. If several stages measured the same metric, the last stage counts."""
        return {name: value for stage in self.finished for name, value in stage.manifest["metrics"].items()}

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """Resolved values of settings that were `auto`, over all stages."""
        return {name: value for stage in self.finished for name, value in stage.manifest["resolved"].items()}

    @cached_property
    def versions(self) -> dict[str, str]:
        return {name: version for stage in self.finished for name, version in stage.manifest["versions"].items()}


def format_time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
