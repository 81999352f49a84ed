"""Runs one training task in this process, or on several processes with Ray Train.

    run_on_workers(task, context, num_workers=2, ...)     runs task(worker) on every worker; returns rank 0's result

Ray Train starts the processes and their process group. If a process dies, Ray Train starts a new group, and the task
resumes from its newest checkpoint. `DEATHS_FORGIVEN` deaths in a row are tolerated; a new checkpoint resets the count.
A range of workers is elastic: the group has as many workers as the cluster has room for, and Ray Train starts a new
group when that number changes. The task does not report metrics or checkpoints to Ray, because Ray's reports are
barriers. Each worker reserves few CPUs, so that two workers fit on a cluster where other tasks also hold CPUs. The
number of CPU threads is set explicitly, because Ray would set it to one.

The driver raises a worker's error unchanged. Errors that all workers raise together (a stop, a divergence) are returned
as values. For any other error, the worker writes a file; the next group that Ray starts reads the file and returns the
error.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer import errors, fences, storage
from bessemer.errors import BessemerError, LeaseLost, Stopped, TrainingDiverged, UsageError
from bessemer.stages.base import Context, Draft

DEATHS_FORGIVEN = 3
FOLLOW_SECONDS = 1.0
RESIZE_SECONDS = 30.0
"""Interval in seconds at which an elastic group checks whether the cluster has room for more workers."""

WorkerCount = int | tuple[int, int]
"""A number of training processes, or (minimum, maximum) for an elastic group."""


OnStep = Callable[[int, Mapping[str, float]], None]
"""Is called with a step and its metrics by name."""


@dataclass(frozen=True)
class WorkerContext:
    """The services that a worker process provides to its task."""

    log: logging.Logger
    should_stop: Callable[[], bool]
    on_step: OnStep
    num_threads: int


Task = Callable[[WorkerContext], Any]
"""A picklable function. It reads its rank and world size from torch's default process group, if there is one."""


def resolve_training_workers(context: Context) -> WorkerCount:
    """Returns the number of training processes; 0 trains in this process. `auto` is one per GPU, or one without GPUs.

    Raises UsageError if the number, or the minimum of a range, is too large for the cluster.
    """
    if context.num_workers == 0:
        return 0
    resources = context.start_ray().cluster_resources()
    cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    if context.num_workers == "auto":
        return max(1, gpus)
    wanted = context.num_workers
    least = wanted if isinstance(wanted, int) else wanted[0]
    if least > (gpus or cpus):
        raise UsageError(
            f"{least} training workers do not fit on a cluster of " + (f"{gpus} GPUs" if gpus else f"{cpus} CPUs"),
            hint=f"set `num_workers` to at most {gpus or cpus}",
        )
    return wanted


def run_on_workers(
    task: Task,
    context: Context,
    draft: Draft,
    *,
    num_workers: WorkerCount,
    num_threads: int | None,
    on_step: OnStep,
    saved: Callable[[], int] = lambda: 0,
) -> Any:
    """Runs `task` on `num_workers` processes (0: in this process) and returns the result of rank 0.

    `num_threads` is the number of CPU threads per worker; None divides the CPUs of a node among its workers. `on_step`
    is called with each recorded step and its metrics. `saved()` returns the step from which a restart would resume.
    Raises the error of the task, or BessemerError if workers died more than `DEATHS_FORGIVEN` times without a new
    checkpoint.
    """
    if num_workers == 0:
        threads = num_threads or len(os.sched_getaffinity(0))
        with _threads(threads):
            return task(WorkerContext(context.log, lambda: _asked(context), on_step, threads))
    return _on_ray(task, context, draft, num_workers, num_threads, on_step, saved)


def cpu_share(cpus: int, num_workers: WorkerCount) -> float:
    """Returns the CPUs that each training worker reserves on a cluster with `cpus` CPUs."""
    return min(1.0, 0.5 * cpus / max(1, num_workers)) if isinstance(num_workers, int) else 1.0


def _asked(context: Context) -> bool:
    return context.stopping.is_set() or context.stop_file.exists()


def _on_ray(
    task: Task,
    context: Context,
    draft: Draft,
    num_workers: WorkerCount,
    num_threads: int | None,
    on_step: OnStep,
    saved: Callable[[], int],
) -> Any:
    ray = context.start_ray()
    resources = ray.cluster_resources()
    cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    from bessemer.stages.engine.loopback import LOOPBACK, LoopbackTorchConfig
    from bessemer.stages.engine.ray_controller import LeavesAtOnce

    log_file = draft.work / f"workers-{draft.attempt:04d}.log"
    share = cpu_share(cpus, num_workers)

    here = ray.util.get_node_ip_address() == LOOPBACK

    def fit() -> Any:
        return TorchTrainer(
            _enter,
            torch_config=LoopbackTorchConfig() if here else None,
            train_loop_config={
                "task": task,
                "stop_file": str(context.stop_file),
                "log_file": str(log_file),
                "error_file": str(draft.work / f"error-{draft.attempt:04d}"),
                "num_threads": num_threads,
                "fences": fences.table(),
            },
            scaling_config=ScalingConfig(
                num_workers=num_workers,
                use_gpu=gpus > 0,
                placement_strategy="PACK" if gpus else "SPREAD",  # CPU training uses the CPUs of every node
                resources_per_worker={"CPU": share} | ({"GPU": 1} if gpus else {}),
                elastic_resize_monitor_interval_s=RESIZE_SECONDS,
            ),
            run_config=RunConfig(
                name=f"{draft.fingerprint[:12]}-{draft.attempt}-{secrets.token_hex(4)}",
                storage_path=str(draft.work / "ray"),
                failure_config=FailureConfig(max_failures=DEATHS_FORGIVEN),
                callbacks=[LeavesAtOnce()],
            ),
        ).fit()

    with _followed(log_file, draft.metrics_file, context.log, on_step):
        try:
            kind, value = _forgiving(lambda: in_thread(fit, context.check_lease), context.log, saved).return_value
        except TrainingFailedError as error:
            raise _unwrapped(error) from error
    if kind == "error":
        raise value
    return value


def _forgiving(fit: Callable[[], Any], log: logging.Logger, saved: Callable[[], int]) -> Any:
    """Returns the result of `fit`. Calls `fit` again after worker deaths that this module tolerates and Ray does not.

    There are two such cases. If a worker dies while Ray sends it the task, Ray reports a controller error and ends the
    training despite `max_failures`. And Ray counts all deaths of a training, even if checkpoints were made in between.
    """
    from ray.exceptions import RayActorError
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    forgiven, reached = 0, saved()
    while True:
        try:
            return fit()
        except ControllerError as error:
            forgiven += 1
            if not isinstance(error.controller_failure, RayActorError) or forgiven > DEATHS_FORGIVEN:
                raise
            log.warning("a training worker died while the workers were starting; starting the workers again")
        except WorkerGroupError as error:
            causes = [getattr(f, "health_check_failure", f) for f in error.worker_failures.values()]
            if not any(isinstance(cause, RayActorError) for cause in causes) or saved() <= reached:
                raise
            log.warning("training workers died repeatedly, but made progress; starting the workers again")
        if saved() > reached:
            forgiven, reached = 0, saved()


def in_thread(function: Callable[[], Any], check: Callable[[], None]) -> Any:
    """Runs `function` in another thread; returns its result or raises its error. Calls `check` while it waits.

    In the main thread, Ray Train would replace the run's Ctrl-C handler by one that ends the process.
    """
    outcome: Future[Any] = Future()

    def call() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            outcome.set_exception(error)

    threading.Thread(target=call, daemon=True, name="ray-train").start()
    while not outcome.done():  # waits are short, because Python runs signal handlers only between them
        wait([outcome], timeout=0.2)
        check()
    return outcome.result()


def _enter(settings: dict[str, Any]) -> tuple[str, Any]:
    """Runs the task in a worker. Returns ("value", result of the task) or ("error", error that ended it)."""
    import torch
    import torch.distributed

    fences.adopt(settings["fences"])
    error_file = Path(settings["error_file"])
    if error_file.exists():
        return "error", errors.from_json(storage.read_json(error_file))
    first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    log = _worker_log(Path(settings["log_file"]) if first else None)
    num_threads = settings["num_threads"] or _share_of_node()
    torch.set_num_threads(num_threads)
    stop_file = Path(settings["stop_file"])
    worker = WorkerContext(log, stop_file.exists, lambda step, figures: None, num_threads)
    try:
        return "value", settings["task"](worker)
    except (Stopped, TrainingDiverged) as error:
        return "error", error
    except LeaseLost:  # another process now writes the artifact, so no error file may be written to it
        raise
    except BessemerError as error:
        storage.write_json(error_file, errors.to_json(error))
        raise


def _share_of_node() -> int:
    """Returns the number of CPU threads for this worker: the CPUs of its node divided by the workers on that node."""
    import ray
    from ray.train import get_context

    here = ray.get_runtime_context().get_node_id()
    cpus = next(node["Resources"].get("CPU", 1) for node in ray.nodes() if node["NodeID"] == here)
    return max(1, int(cpus) // int(get_context().get_local_world_size()))


def _worker_log(file: Path | None) -> logging.Logger:
    log = logging.getLogger("bessemer.worker")
    log.setLevel(logging.INFO if file else logging.ERROR)
    log.propagate = False
    if file and not log.handlers:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = storage.LogFile(file)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        log.addHandler(handler)
    return log


def _unwrapped(error: Any) -> BessemerError:
    """Returns the first BessemerError that a worker raised, or else an error with the cause of the workers' deaths."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, BessemerError):
                return cause
            cause = cause.__cause__ or cause.__context__
    last = str(next(iter(failures.values()), error)).strip().splitlines()
    return BessemerError(
        f"the training workers died {DEATHS_FORGIVEN + 1} times in a row: "
        + (last[-1] if last else "for no known reason"),
        hint="run the same command again to continue from the last checkpoint; if memory ran out, first halve "
        "`micro_batch_size`",
    )


@contextmanager
def _followed(log_file: Path, metrics_file: Path, log: logging.Logger, on_step: OnStep) -> Iterator[None]:
    """Forwards the workers' log lines to `log` and their newest step to `on_step` while the body runs."""
    done = threading.Event()
    follower = threading.Thread(target=_follow, args=(done, log_file, metrics_file, log, on_step), daemon=True)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()


def _follow(
    done: threading.Event,
    log_file: Path,
    metrics_file: Path,
    log: logging.Logger,
    on_step: OnStep,
) -> None:
    lines, figures = _Tail(log_file), _Tail(metrics_file)
    while True:
        last = done.wait(FOLLOW_SECONDS)
        for line in lines.read():
            level, _, message = line.partition(" ")
            log.log(logging.getLevelNamesMapping().get(level, logging.INFO), "%s", message)
        for line in figures.read()[-1:]:
            found = json.loads(line)
            on_step(found["step"], found["metrics"])
        if last:
            return


class _Tail:
    """Reads the lines that were added to a file since the last call."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0

    def read(self) -> list[str]:
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(self._position)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._position += len(whole)
        return whole.decode().splitlines()


@contextmanager
def _threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
