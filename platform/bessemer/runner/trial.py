"""The work of one trial of a sweep: it runs the recipe with the trial's values and reports one metric.

The recipe runs in a thread. The metric is read from the files `metrics/*.jsonl` of the artifacts, so the trainer does
not know Ray Tune. A trial that is stopped ends like any stopped run: it saves what it has and records `run_stopped`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts.manifest import Manifest
from bessemer.artifacts.store import Store
from bessemer.errors import Stopped
from bessemer.recipe.recipe import LoadedRecipe
from bessemer.runner import runs
from bessemer.runner.display import Display
from bessemer.runner.locations import storage_root
from bessemer.runner.plan import change_recipe, make_plan
from bessemer.runner.run import run_recipe
from bessemer.runner.runs import Run
from bessemer.runner.sweep_plan import measuring_stage

POLL_SECONDS = 0.5
PROGRESS = "progress.json"
PROGRESS_SECONDS = 2.0


class Trial:
    """One trial, in the folder `folder`.

    trial = Trial(recipe, folder, {"pretrain.learning_rate": 0.01}, metric="validation/loss")
    for value in trial.reports():   # starts the work; each value is new
        ...
    """

    def __init__(self, recipe: LoadedRecipe, folder: Path, values: Mapping[str, Any], *, metric: str) -> None:
        changed = change_recipe(recipe, values)
        if any(entry.config.num_workers is None for entry in changed.stages):
            changed = change_recipe(recipe, {**values, "num_workers": 0})  # this process has the trial's cores
        self._recipe = changed
        store = Store(storage_root(changed))
        self._plan = make_plan(changed, store)
        self.run = runs.fill(Run(folder, store.root), changed, self._plan)
        storage.write_json(folder / "trial.json", dict(values))
        self._metric = metric
        stage = measuring_stage(changed, metric)
        self._stages = [s for s in self._plan.stages if stage in (None, s.name)]
        # An artifact whose inputs changed is made again; its old points do not belong to this trial.
        made_again = [s.name for s in self._stages if s.runs and Manifest.read(self.run.artifact_folder(s.name))]
        self._since = dict.fromkeys(made_again, time.time() * 1000)
        self._reported: set[tuple[str, int]] = set()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="trial", daemon=True)

    def reports(self) -> Iterator[float]:
        """Each value of the metric once, until the run has ended. Raises the error that ended it."""
        self._thread.start()
        last: float | None = None
        while True:
            ended = not self._thread.is_alive()
            for value in self._new_values():
                last = value
                yield value
            if ended:
                break
            self._thread.join(POLL_SECONDS)
        if self._error is not None and not isinstance(self._error, Stopped):
            raise self._error
        final = self._headline()
        if final is not None and final != last:
            yield final

    def stop(self, seconds: float) -> None:
        """Asks the run to stop, and waits for it."""
        if self._thread.is_alive():
            self.run.stop_file.touch()
            self._thread.join(seconds)

    def _work(self) -> None:
        display = ProgressFile([stage.name for stage in self._plan.stages], self.run.folder / PROGRESS)
        try:
            run_recipe(self._recipe, self._plan, display, command="", run=self.run, track=False)
        except BaseException as error:  # noqa: BLE001  raised again by `reports`
            self._error = error

    def _new_values(self) -> Iterator[float]:
        for stage in self._stages:
            for file in sorted((self.run.artifact_folder(stage.name) / "metrics").glob("*.jsonl")):
                for line in storage.read_lines(file):
                    value, point = line["metrics"].get(self._metric), (stage.name, line["step"])
                    old = line["timestamp"] < self._since.get(stage.name, 0)
                    if value is not None and not old and point not in self._reported:
                        self._reported.add(point)
                        yield value

    def _headline(self) -> float | None:
        """The metric as the finished artifact states it."""
        for stage in reversed(self._stages):
            manifest = Manifest.read(self.run.artifact_folder(stage.name))
            if manifest and self._metric in manifest.metrics:
                return manifest.metrics[self._metric]
        return None


class ProgressFile(Display):
    """Writes the progress of the running stage to a file, for the sweep to show."""

    def __init__(self, stages: list[str], file: Path) -> None:
        super().__init__(stages)
        self._file = file
        self._written = 0.0

    def say(self, line: str) -> None:
        pass

    def started(self, name: str, why: str) -> None:
        super().started(name, why)
        self._write(name, "started")

    def progress(self, name: str, done: float, total: float, unit: str, facts: dict[str, Any]) -> None:
        super().progress(name, done, total, unit, facts)
        if time.monotonic() - self._written >= PROGRESS_SECONDS:
            self._write(name, self.stages[name].describe())

    def _write(self, name: str, text: str) -> None:
        self._written = time.monotonic()
        storage.write_json(self._file, {"stage": name, "text": text})


def read_progress(folder: Path) -> str:
    """`pretrain: 120 of 900 steps, 19s left` for a running trial; empty if it has not begun."""
    try:
        found = storage.read_json(folder / PROGRESS) or {}
        return f"{found['stage']}: {found['text']}" if found else ""
    except (ValueError, TypeError, KeyError):
        return ""
