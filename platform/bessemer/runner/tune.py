"""The interface of a sweep to Ray Tune: the trainable, the callback, the stopper, and the resources of a trial.

Only `runner/sweep.py` imports this module, when a sweep starts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune import Callback, Stopper, Trainable

from bessemer.errors import BessemerError
from bessemer.formatting import format_number, format_seconds
from bessemer.recipe.recipe import LoadedRecipe
from bessemer.runner.runs import Run
from bessemer.runner.trial import Trial, read_progress

RANK, ENDED = "rank", "ended"
"""Keys of a result: the number that Tune compares, and whether the trial ended by itself."""
WORST = 1e300
"""The rank of a metric that is not a finite number. It does not overflow when ASHA interpolates between ranks."""
STOP_SECONDS = 120.0
"""Seconds that a stopped trial has to save its state."""
LINE_SECONDS = 30.0


class TrialActor(Trainable):  # type: ignore[misc]
    """One trial in its own process. Each report of the metric is one of Tune's iterations."""

    def setup(self, config: dict[str, Any], *, recipe: LoadedRecipe, sweep: Path, metric: str, mode: str) -> None:
        values = {field: plain(value) for field, value in config.items()}
        self._metric, self._worst = metric, WORST if mode == "min" else -WORST
        self._trial = Trial(recipe, sweep / "trials" / self.trial_id, values, metric=metric)
        self._reports: Iterator[float] = self._trial.reports()
        self._last: float | None = None

    def step(self) -> dict[str, Any]:
        value = next(self._reports, None)
        ended = value is None
        if ended and self._last is None and self._trial.run.status() == "finished":
            raise BessemerError(f"the trial did not record `{self._metric}`", hint="search by another metric")
        self._last = self._last if ended else value
        found = math.nan if self._last is None else self._last
        rank = found if math.isfinite(found) else self._worst
        return {self._metric: found, RANK: rank, ENDED: ended, "done": ended}

    def cleanup(self) -> None:
        self._trial.stop(STOP_SECONDS)


class StopRequest(Stopper):  # type: ignore[misc]
    """Ends the sweep after a stop request."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked = asked

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._asked()


class Progress(Callback):  # type: ignore[misc]
    """Shows the progress of the trials, one line per event and every 30 seconds, and passes on stop requests."""

    def __init__(
        self, sweep: Run, total: int, metric: str, mode: str, say: Callable[[str], None], asked: Callable[[], bool]
    ) -> None:
        self._sweep, self._total, self._metric, self._say, self._asked = sweep, total, metric, say, asked
        self._sign = 1.0 if mode == "min" else -1.0
        self._best = math.inf
        self._started: dict[str, float] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        """The values of each started trial, by its id. Tune loses them if the trial fails before its first result."""
        self._last_line = time.monotonic()
        self._stopping = False

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        running = [trial for trial in trials if trial.status == "RUNNING"]
        if self._asked() and not self._stopping:
            self._stopping = True
            self._sweep.record("run_stopped", error="stopped as asked")  # now: a job has three seconds to end
            for trial in running:
                folder = self._folder(trial)
                if folder.exists():
                    Run(folder).stop_file.touch()
        if time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            for trial in running:
                self._tell(trials, trial, read_progress(self._folder(trial)) or "starting")

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self._started[trial.trial_id] = time.monotonic()
        self.configs[trial.trial_id] = dict(trial.config)
        self._tell(trials, trial, f"started with {described(trial.config)}")

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result or {}
        value = result.get(self._metric)
        if value is None:
            self._tell(trials, trial, "stopped before its first report")
            return
        rank = self._sign * value
        best = ", the best so far" if math.isfinite(value) and rank < self._best else ""
        self._best = rank if best else self._best
        ended = result.get(ENDED) and not self._stopping
        state = "finished" if ended else "stopped" if self._stopping else "stopped early"
        self._tell(trials, trial, f"{state}{self._took(trial)}: {self._metric} {format_number(value)}{best}")

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        folder = self._folder(trial)
        errors = [event["error"] for event in Run(folder).events() if event["event"] == "run_failed"]
        log = f"; its log: bessemer logs {folder}" if errors else ""
        self._tell(trials, trial, f"failed{self._took(trial)}: {errors[-1] if errors else _reason(trial)}{log}")

    def _tell(self, trials: Sequence[Any], trial: Any, text: str) -> None:
        self._say(f"trial {trials.index(trial) + 1} of {self._total}: {text}")

    def _took(self, trial: Any) -> str:
        started = self._started.get(trial.trial_id)
        return f" in {format_seconds(time.monotonic() - started)}" if started else ""

    def _folder(self, trial: Any) -> Path:
        return self._sweep.folder / "trials" / str(trial.trial_id)


def _reason(trial: Any) -> str:
    """The error of a trial that ended before its run began."""
    error = trial.get_pickled_error()
    cause = getattr(error, "cause", None) or error  # Ray keeps an actor's exception there
    if isinstance(cause, BessemerError):
        return cause.message
    return f"its process died ({type(cause).__name__})" if cause else "its process died"


def described(config: Mapping[str, Any]) -> str:
    """`pretrain.learning_rate 0.01, dedup.threshold 0.8`."""
    return ", ".join(f"{field} {value_text(plain(value))}" for field, value in config.items())


def value_text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def plain(value: Any) -> Any:
    """A value that Tune drew: a plain Python number instead of a numpy number, other values unchanged."""
    return value.item() if hasattr(value, "item") else value


def allot(nodes: Sequence[Mapping[str, float]], trials: int, *, inside: bool) -> tuple[dict[str, float], int]:
    """The resources of one trial, and how many trials fit at the same time (at most `trials`, at least 1).

    `nodes` are the resources of each node. A trial runs on one node. It gets the largest number of cores with which
    `trials` trials fit, at most those of one node, and one GPU if there are any. A trial whose stages start workers
    (`inside` is false) asks for nothing itself, because its workers need the cores.
    """
    if not inside:
        return {"CPU": 0}, trials
    cores = [int(node.get("CPU", 0)) for node in nodes]
    most = max([1, *cores])
    cpus = next((c for c in range(most, 0, -1) if sum(n // c for n in cores) >= trials), 1)
    fitting = max(1, min(trials, sum(n // cpus for n in cores)))
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if not gpus:
        return {"CPU": cpus}, fitting
    return {"CPU": cpus, "GPU": 1 if gpus >= fitting else 1 / math.ceil(fitting / gpus)}, fitting
