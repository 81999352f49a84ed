"""Run folders. The files in a run folder describe one execution of a recipe completely.

    <recipe>-<date>-<time>-<4 hex>/   recipe.yaml  resolved.yaml  plan.json  events.jsonl  logs/<stage>.txt  report.html

`events.jsonl` is the only source of a run's state: `status`, the report and MLflow read it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.artifacts.run_files import EVENTS as EVENTS
from bessemer.artifacts.run_files import PLAN, read_events, read_plan
from bessemer.credentials import redact, redact_all
from bessemer.errors import UsageError
from bessemer.recipe import yaml
from bessemer.recipe.problems import nearest
from bessemer.recipe.recipe import LoadedRecipe
from bessemer.runner.plan import RunPlan

RAY_LOG = "ray"
"""The name of the log with the messages of Ray's own processes."""


def now() -> str:
    """The time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Run:
    """One run, by its folder."""

    folder: Path
    storage_root: Path | None = None
    """The storage path, if it is not the parent of the run's folder (a trial's folder is inside its sweep's)."""
    parent: Path | None = None
    """The folder of a run whose stop request also ends this run."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def root(self) -> Path:
        """The storage path that contains the run."""
        return self.storage_root or self.folder.parent

    @property
    def stop_file(self) -> Path:
        return (self.parent or self.folder) / "stop"

    def log_file(self, stage: str) -> Path:
        return self.folder / "logs" / f"{stage}.txt"

    def log_files(self) -> Iterator[tuple[str, Path]]:
        """Yields the name and path of each log that is not empty: of the stages in order, then of Ray.

        For a sweep, the logs of the shared stages and of the trials follow, as `shared/STAGE` and `trials/TRIAL/STAGE`.
        """
        folders = [self.folder, self.folder / "shared", *sorted(self.folder.glob("trials/*"))]
        for folder in folders:
            part = Run(folder, self.root)
            for stage in [*(planned["name"] for planned in part.plan()["stages"]), RAY_LOG]:
                path = part.log_file(stage)
                if path.exists() and path.stat().st_size:
                    yield (folder / stage).relative_to(self.folder).as_posix(), path

    def error(self) -> str | None:
        """The error that ended the run; None if the run continues or finished."""
        last = [event for event in self.events() if event["event"].startswith("run_")][-1:]
        return last[0].get("error") if last else None

    def record(self, event: str, **facts: Any) -> None:
        storage.append_line(self.folder / EVENTS, {"time": now(), "event": event, **redact_all(facts)})

    def events(self) -> list[dict[str, Any]]:
        return read_events(self.folder)

    def plan(self) -> dict[str, Any]:
        return read_plan(self.folder)

    def status(self) -> str:
        """`running`, `finished`, `failed`, `stopped`, or `interrupted` (killed before it could record its end)."""
        last = "interrupted"
        for event in self.events():
            if event["event"] == "run_started":
                last = "interrupted"
            elif event["event"].startswith("run_"):
                last = event["event"].removeprefix("run_")
        return "running" if last == "interrupted" and lease.holder(self.folder) else last

    def elapsed(self) -> float | None:
        """Seconds since the last start, until now or until the end; None for a run that was killed."""
        started: datetime | None = None
        ended: datetime | None = None
        for event in self.events():
            if event["event"] == "run_started":
                started, ended = datetime.fromisoformat(event["time"]), None
            elif event["event"].startswith("run_"):
                ended = datetime.fromisoformat(event["time"])
        if ended is None and self.status() == "running":
            ended = datetime.now(UTC)
        return (ended - started).total_seconds() if started and ended else None

    def stages(self) -> dict[str, dict[str, Any]]:
        """The newest event of each stage, in the plan's order; `waiting` for those that have none."""
        latest = {s["name"]: {"event": "waiting", "fingerprint": s["fingerprint"], **s} for s in self.plan()["stages"]}
        for event in self.events():
            if event["event"].startswith("stage_") and event["stage"] in latest:
                latest[event["stage"]] = {**latest[event["stage"]], **event}
        running = [stage for stage in latest.values() if stage["event"] == "stage_started"]
        if running and self.status() == "running":
            for stage in running:
                begun = datetime.fromisoformat(stage["time"])
                stage["seconds"] = round((datetime.now(UTC) - begun).total_seconds(), 3)
        return latest

    def headline(self) -> tuple[str, float] | None:
        """The name and value of the run's most important score, or None if it has none yet.

        An evaluation names its own headline. The headline of a run without an evaluation is the validation score of its
        last model; that of a sweep is the metric of its best trial.
        """
        if sweep := storage.read_json(self.folder / "sweep.json"):
            best = next((trial for trial in sweep["trials"] if trial["name"] == sweep["best"]), None)
            return (sweep["metric"], best["metric"]) if best else None
        for planned in reversed(self.plan()["stages"]):
            try:
                manifest = storage.read_json(self.artifact_folder(planned["name"]) / "manifest.json")
            except ValueError:  # damaged: the plan of the next run reports it
                continue
            if manifest and planned["produces"] in ("scores", "model", "reward_model"):
                metrics = manifest["metrics"]
                names = [
                    manifest["resolved"].get("headline"),
                    *sorted(n for n in metrics if n.startswith("validation/")),
                ]
                for name in names:
                    if name in metrics:
                        return name, metrics[name]
        return None

    def artifact_folder(self, stage: str) -> Path:
        """The folder of the artifact of `stage`. Raises UsageError if the run has no such stage."""
        stages = self.plan()["stages"]
        for planned in stages:
            if planned["name"] == stage:
                return self.root / "artifacts" / str(planned["kind"]) / str(planned["fingerprint"])
        raise UsageError(
            f"run `{self.name}` has no stage `{stage}`", hint=nearest(stage, [planned["name"] for planned in stages])
        )


def create(root: Path, recipe: LoadedRecipe, plan: RunPlan) -> Run:
    """Creates a run folder that contains the recipe and the plan."""
    return fill(Run(_new_folder(root, recipe.settings.name)), recipe, plan)


def fill(run: Run, recipe: LoadedRecipe, plan: RunPlan) -> Run:
    """Writes the recipe and the plan into a run's folder, without passwords."""
    storage.write_text(run.folder / "recipe.yaml", redact(recipe.text))
    storage.write_text(run.folder / "resolved.yaml", yaml.dump(redact_all(recipe.resolved())))
    storage.write_json(run.folder / "plan.json", plan.to_json())
    return run


def _new_folder(root: Path, recipe: str) -> Path:
    """Creates `<recipe>-<date>-<time>-<4 hex>`. The hex digits are the fraction of the second, so names sort by
    time."""
    while True:
        begun = datetime.now(UTC)
        folder = root / f"{recipe}-{begun:%Y%m%d-%H%M%S}-{begun.microsecond * 0x10000 // 1_000_000:04x}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder


def start(run: Run, *, command: str, attempt: int, source: Mapping[str, Any] | None = None) -> None:
    """Records that a run starts, with its command line and the facts about its source code (`git_state`)."""
    if run.parent is None:
        run.stop_file.unlink(missing_ok=True)
    run.record(
        "run_started",
        run=run.name,
        recipe=run.plan()["recipe"],
        command=command,
        pid=os.getpid(),
        host=socket.gethostname(),
        attempt=attempt,
        **(source or {}),
    )


def all_runs(root: Path) -> Iterator[Run]:
    """Every run under a storage path, newest first. Omits the trials of a sweep, which are in the sweep's folder."""
    names = (EVENTS, PLAN)  # a run that is just created has a plan only
    folders = {path.parent for name in names for path in root.glob(f"*/{name}")} if root.is_dir() else set()
    yield from (Run(folder) for folder in sorted(folders, key=_begun, reverse=True))


def _begun(folder: Path) -> str:
    return "-".join(folder.name.rsplit("-", 3)[1:])


def find(root: Path, name: str | None) -> Run:
    """The run called `name`, or the newest for None and `@last`. Raises UsageError if there is none.

    `name` can be a prefix, or the folder of a run or of a trial under any storage path.
    """
    if name and name != "@last" and (Path(name) / EVENTS).exists():
        folder = Path(name).absolute()
        return Run(folder, folder.parents[2] if folder.parent.name == "trials" else folder.parent)
    found = list(all_runs(root))
    if not found:
        raise UsageError(f"`{root}` holds no runs", hint="start one with `bessemer run RECIPE`")
    if name is None or name == "@last":
        return found[0]
    matches = [run for run in found if run.name.startswith(name)]
    if not matches:
        raise UsageError(f"no run is called `{name}`", hint=nearest(name, [run.name for run in found[:20]]))
    return matches[0]


def find_unfinished(root: Path, plan: RunPlan) -> Run | None:
    """The newest unfinished run with the same plan, unless a live process still works on it."""
    for run in all_runs(root):
        if run.plan().get("fingerprint") == plan.fingerprint:
            return run if run.status() not in ("running", "finished") else None
    return None
