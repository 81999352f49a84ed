"""Writes the records of one run that MLflow lacks. Repeated calls write only new records.

A run of a pipeline is a parent run in MLflow; each stage that it executes is a child run. The tags `bessemer.run`,
`bessemer.stage` and `bessemer.generation` identify them. A reused stage has no child: its headline metrics and data
sets are on the parent. A sweep is a parent run too, and each of its trials is one child without children.

Step metrics are sent in the order of steps, in batches that MLflow stores completely or not at all. Of each metric,
only points after the last recorded step are sent. So no point is recorded twice, even if the response to a batch is
lost or a resumed training repeats steps. After a crash, the next call sends the missing points.

On the parent run, the results of a stage have the stage's name as a prefix (`clean/data/documents_out`), because
several stages have results of the same name. The parent also has the sum of all costs (`cost/USD`).
"""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.tracking import registry
from bessemer.tracking.records import RUNNING, RunRecord, StageRecord, read_points, read_run, version
from bessemer.tracking.store import artifact_location

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

BATCH_METRICS = 1000
BATCH_PARAMS = 100
MOST_KEYS = 40
"""Maximum number of metric names of a child run. A parent run has at most `MOST_PARENT_KEYS`."""
MOST_PARENT_KEYS = 200
LONGEST_PARAM = 6000

RUN_TAG, STAGE_TAG, FINGERPRINT_TAG = "bessemer.run", "bessemer.stage", "bessemer.fingerprint"
GENERATION_TAG, MIRRORED_TAG, LEFT_OUT_TAG = "bessemer.generation", "bessemer.mirrored", "bessemer.metrics_left_out"
PARENT_TAG, ERROR_TAG = "mlflow.parentRunId", "bessemer.error"

Point = tuple[str, float, int, int]
"""Name, value, timestamp in milliseconds, step."""


@dataclass
class Recorded:
    """One run in MLflow: its recorded state, and the progress of this process."""

    run_id: str
    last_steps: dict[str, int]
    params: set[str]
    names: set[str]
    left_out: set[str]
    status: str
    error: str
    most_keys: int
    prepared: bool = False
    concluded: str = ""
    curves: set[str] = field(default_factory=set)
    offsets: dict[Path, int] = field(default_factory=dict)
    sizes: dict[Path, int] = field(default_factory=dict)


class RunMirror:
    """Mirrors one run of Bessemer in MLflow.

    Its methods raise the exceptions of `store.unreachable()`. After an exception, continue with a new object. With
    `below`, the MLflow id of a sweep, the run is a trial: it has no child runs, and its models are not registered.
    """

    def __init__(
        self,
        client: MlflowClient,
        uri: str,
        folder: Path,
        root: Path,
        experiment: str,
        tags: Mapping[str, str],
        *,
        register: bool,
        below: str | None = None,
    ) -> None:
        self._client = client
        self._uri = uri
        self._folder = folder
        self._root = root
        self._experiment = experiment
        self._tags = tags
        self._tagged: dict[str, str] = {}
        self._below = below
        self._register = register and below is None
        self._experiment_id = ""
        self._known: dict[tuple[str, int], Recorded] = {}
        self._headlined: set[tuple[str, int]] = set()
        self._trials: dict[Path, RunMirror] = {}

    def synchronise(self) -> RunRecord:
        """Sends everything new in the run's files to MLflow. Returns the present records of the run."""
        mirrored = version(self._folder)
        record = read_run(self._folder, self._root)
        if not self._experiment_id:
            self._find(record)
        parent = self._parent(record)
        for stage in record.stages:
            if stage.state in ("waiting", "reused"):
                child = parent
            elif self._below:
                child = parent
                self._points(parent, stage, prefix=f"{stage.name}/" if _models(record) > 1 else "")
            else:
                child = self._child(record, stage, parent)
                self._stage(stage, child)
            if stage.done and (stage.name, stage.generation) not in self._headlined:
                self._headline(record, stage, parent, child)
        for folder in sorted(path.parent for path in self._folder.glob("trials/*/events.jsonl")):
            self._trial(folder, parent).synchronise()
        self._conclude(record, parent, mirrored)
        return record

    def _find(self, record: RunRecord) -> None:
        """Finds or creates the experiment, and finds the existing runs in MLflow."""
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            location = artifact_location(self._uri, self._root, self._experiment)
            tags = {"mlflow.experimentKind": "custom_model_development"}  # the UI's pages for training, not for agents
            self._experiment_id = self._client.create_experiment(self._experiment, location, tags)
            return
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        self._experiment_id = found.experiment_id
        for run in self._client.search_runs([self._experiment_id], f"tags.`{RUN_TAG}` = '{record.name}'"):
            tags = run.data.tags
            self._known[tags.get(STAGE_TAG, ""), int(tags.get(GENERATION_TAG, 0))] = _recorded(run)

    def _create(self, key: tuple[str, int], name: str, started: int, tags: dict[str, str]) -> Recorded:
        if key not in self._known:
            tags = {"mlflow.user": _user(), **tags}
            run = self._client.create_run(self._experiment_id, start_time=started, tags=tags, run_name=name)
            self._known[key] = _recorded(run)
        return self._known[key]

    def _parent(self, record: RunRecord) -> Recorded:
        tags = {RUN_TAG: record.name, "mlflow.source.name": record.command}
        tags |= {PARENT_TAG: self._below} if self._below else {}
        parent = self._create(("", 0), self._folder.name, record.started, tags)
        parent.most_keys = MOST_PARENT_KEYS
        if not parent.prepared:
            if record.git_commit:
                self._client.set_tag(parent.run_id, "mlflow.source.git.commit", record.git_commit)
                self._client.set_tag(parent.run_id, "bessemer.git_dirty", str(record.git_dirty).lower())
            self._client.set_tag(parent.run_id, "mlflow.source.name", record.command)
            settings = record.settings()
            self._params(parent, settings)
            if settings.get("description"):
                self._client.set_tag(parent.run_id, "mlflow.note.content", settings["description"])
            for name in ("recipe.yaml", "resolved.yaml", "plan.json"):
                self._file(parent, self._folder / name)
            parent.prepared = True
        return parent

    def _trial(self, folder: Path, parent: Recorded) -> RunMirror:
        if folder not in self._trials:
            self._trials[folder] = RunMirror(
                self._client,
                self._uri,
                folder,
                self._root,
                self._experiment,
                {},
                register=False,
                below=parent.run_id,
            )
        return self._trials[folder]

    def _child(self, record: RunRecord, stage: StageRecord, parent: Recorded) -> Recorded:
        tags = {
            RUN_TAG: record.name,
            STAGE_TAG: stage.name,
            GENERATION_TAG: str(stage.generation),
            FINGERPRINT_TAG: stage.fingerprint,
            PARENT_TAG: parent.run_id,
        }
        child = self._create((stage.name, stage.generation), stage.name, stage.started, tags)
        if not child.prepared:
            self._params(child, stage.config)
            self._inputs(child, [_dataset(i.stage, i.kind, i.fingerprint, i.folder) for i in stage.inputs])
            child.prepared = True
        return child

    def _stage(self, stage: StageRecord, child: Recorded) -> None:
        """Brings a child run up to date: its points and, after the end of the stage, its results and status."""
        if child.concluded == stage.state:
            return
        self._points(child, stage)
        if stage.state == RUNNING:
            self._error(child, "")
            self._status(child, RUNNING, None)
            return
        if stage.manifest:
            step = max((child.last_steps[name] for name in child.curves & child.names), default=0)
            results = {name: value for name, value in stage.headline().items() if name not in child.curves}
            results["time/seconds"] = stage.manifest["seconds"]
            results["data/size_bytes"] = sum(file["size"] for file in stage.manifest["files"])
            self._send(child, [(name, value, stage.finished_at, step) for name, value in results.items()])
            self._params(child, {"resolved": stage.manifest["resolved"]} if stage.manifest["resolved"] else {})
            if reasons := (stage.manifest["counts"] or {}).get("removed_by_rule"):
                self._client.log_text(child.run_id, json.dumps(reasons, indent=2), "removed_by_rule.json")
        self._error(child, stage.error)
        self._file(child, stage.log)
        self._status(child, stage.state, stage.ended)
        child.concluded = stage.state

    def _headline(self, record: RunRecord, stage: StageRecord, parent: Recorded, child: Recorded) -> None:
        """Copies the results of a finished stage to the parent run. Their step is the stage's index in the plan.

        Times come from the manifest, and MLflow stores equal points only once, so a repeated call changes nothing.
        """
        if stage.manifest:
            results = {_qualified(stage, name): value for name, value in stage.headline().items()}
            results = {name: value for name, value in results.items() if name not in parent.curves}
            self._send(parent, [(name, value, stage.finished_at, stage.position) for name, value in results.items()])
            if stage.produces not in ("model", "scores"):
                self._inputs(parent, [_dataset(stage.name, stage.produces, stage.fingerprint, stage.folder)])
            if self._register and stage.produces == "model":
                registry.register(self._client, self._uri, record.recipe, stage, child.run_id)
        self._headlined.add((stage.name, stage.generation))

    def _conclude(self, record: RunRecord, parent: Recorded, mirrored: str) -> None:
        for name, value in dict(self._tags).items():  # the tag with the best trial of a sweep is set at its end
            if self._tagged.get(name) != value:
                self._client.set_tag(parent.run_id, name, value)
                self._tagged[name] = value
        self._status(parent, record.status, record.ended)
        if record.status == RUNNING:
            self._error(parent, "")
        else:
            self._error(parent, record.error)
            ended = record.ended or record.started
            totals = {n: v for n, v in record.totals().items() if parent.last_steps.get(key(n), -1) < record.attempts}
            self._send(parent, [(name, value, ended, record.attempts) for name, value in totals.items()])
            for name in ("report.html", "sweep.json"):
                self._file(parent, self._folder / name)
            self._client.set_tag(parent.run_id, MIRRORED_TAG, mirrored)

    def _status(self, recorded: Recorded, status: str, ended: int | None) -> None:
        if recorded.status != status:
            if status == RUNNING:
                self._client.update_run(recorded.run_id, status=RUNNING)
            else:
                self._client.set_terminated(recorded.run_id, status, ended)
            recorded.status = status

    def _error(self, recorded: Recorded, error: str) -> None:
        """Records the error of a run, or removes it after a later attempt has started or succeeded."""
        if recorded.error != error:
            if error:
                self._client.set_tag(recorded.run_id, ERROR_TAG, error)
            else:
                self._client.delete_tag(recorded.run_id, ERROR_TAG)
            recorded.error = error

    def _points(self, recorded: Recorded, stage: StageRecord, prefix: str = "") -> None:
        """Sends the step metrics in the stage's files that are new and after the last recorded step."""
        batch: list[Point] = []
        for path in stage.metric_files():
            for offset, point in read_points(path, recorded.offsets.get(path, 0)):
                metrics = {prefix + name: value for name, value in point["metrics"].items()}
                recorded.curves |= metrics.keys()
                for name, value in metrics.items():
                    if point["step"] > recorded.last_steps.get(name, -1):
                        batch.append((name, value, point["timestamp"], point["step"]))
                        recorded.last_steps[name] = point["step"]
                recorded.offsets[path] = offset
                if len(batch) > max(1, BATCH_METRICS - recorded.most_keys):
                    self._send(recorded, batch)
                    batch = []
        self._send(recorded, batch)

    def _send(self, recorded: Recorded, points: Iterable[Point]) -> None:
        """Sends points of at most `most_keys` metric names. A tag lists the names that are left out."""
        from mlflow.entities import Metric

        new = []
        for given, value, timestamp, step in points:
            name = key(given)
            if name not in recorded.names and len(recorded.names) >= recorded.most_keys:
                recorded.left_out.add(name)
                continue
            recorded.names.add(name)
            recorded.last_steps[name] = max(step, recorded.last_steps.get(name, step))
            new.append(Metric(name, float(value), timestamp, step))
        for first in range(0, len(new), BATCH_METRICS):
            self._client.log_batch(recorded.run_id, metrics=new[first : first + BATCH_METRICS])
        if recorded.left_out:
            self._client.set_tag(recorded.run_id, LEFT_OUT_TAG, ", ".join(sorted(recorded.left_out)))

    def _params(self, recorded: Recorded, settings: Mapping[str, Any]) -> None:
        """Records settings that are not recorded yet. A long value becomes a file that the parameter names."""
        from mlflow.entities import Param

        new = []
        for setting, value in flatten(settings).items():
            name = key(setting)
            if name in recorded.params:
                continue
            if len(value) > LONGEST_PARAM:
                self._client.log_text(recorded.run_id, value, f"params/{name}.txt")
                value = f"see artifact params/{name}.txt"
            new.append(Param(name, value))
        for first in range(0, len(new), BATCH_PARAMS):
            self._client.log_batch(recorded.run_id, params=new[first : first + BATCH_PARAMS])
        recorded.params |= {param.key for param in new}

    def _inputs(self, recorded: Recorded, datasets: list[DatasetInput]) -> None:
        if datasets:
            self._client.log_inputs(recorded.run_id, datasets=datasets)

    def _file(self, recorded: Recorded, path: Path) -> None:
        """Uploads a file, unless this process has already uploaded it with the same size."""
        size = path.stat().st_size if path.exists() else None
        if size is not None and recorded.sizes.get(path) != size:
            self._client.log_artifact(recorded.run_id, str(path))
            recorded.sizes[path] = size


def key(name: str) -> str:
    """`name` as a key of MLflow: cut to 250 characters, with `_` for all but letters, digits and `_-. :/`."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:250]


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flattens settings to dotted names. Values are JSON, except that strings have no quotes."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return flat


def _recorded(run: Run) -> Recorded:
    # The newest point of each key, with its step. The public `data.metrics` has no steps.
    last_steps = {metric.key: metric.step for metric in run.data._metric_objs}
    return Recorded(
        run_id=run.info.run_id,
        last_steps=last_steps,
        params=set(run.data.params),
        names=set(last_steps),
        left_out=set(filter(None, run.data.tags.get(LEFT_OUT_TAG, "").split(", "))),
        status=run.info.status,
        error=run.data.tags.get(ERROR_TAG, ""),
        most_keys=MOST_KEYS,
    )


def _qualified(stage: StageRecord, name: str) -> str:
    """The name of a stage's result on the parent run: `<stage>/<name>`, without a second prefix if it has one."""
    return name if name.startswith(f"{stage.name}/") else f"{stage.name}/{name}"


def _models(record: RunRecord) -> int:
    """Number of stages that train a model. If there are several, their curves may have the same names."""
    return sum(stage.produces in ("model", "reward_model") for stage in record.stages)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return str(os.getuid())


def _dataset(stage: str, kind: str, fingerprint: str, folder: Path) -> DatasetInput:
    """An artifact as a data set of MLflow, with the stage as its name and the fingerprint as its digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": str(folder)})
    dataset = Dataset(name=stage, digest=fingerprint, source_type="local", source=source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", kind)])
