"""Runs a recipe: executes every stage whose artifact is missing, in order.

The same command resumes. It finds the unfinished run with the same plan and reuses its finished stages. The stage that
was interrupted continues in its own folder. The manifest is written last: a folder without one is not an artifact.
"""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bessemer import __version__, fences, stages, storage
from bessemer.artifacts import lease
from bessemer.artifacts.lease import Lease, Owner
from bessemer.artifacts.ledger import Counts
from bessemer.artifacts.manifest import Manifest, describe_files
from bessemer.artifacts.store import Artifact, Store
from bessemer.credentials import redact
from bessemer.errors import BessemerError, InputChanged, LeaseLost, NothingLeft, StageFailed, Stopped, StorageError
from bessemer.fingerprint import versions
from bessemer.formatting import format_count, format_number
from bessemer.recipe.recipe import LoadedRecipe
from bessemer.runner import runs, stopping
from bessemer.runner.changes import NAME as IDENTITY
from bessemer.runner.cluster import Cluster
from bessemer.runner.cost import money
from bessemer.runner.display import Display, native_errors_to
from bessemer.runner.input_check import InputCheck
from bessemer.runner.locations import storage_root
from bessemer.runner.plan import PlannedStage, RunPlan, stale
from bessemer.runner.runs import RAY_LOG, Run
from bessemer.runner.source_code import git_state
from bessemer.stages.base import Context, Draft, Inputs, Stage
from bessemer.terminal import printable_line
from bessemer.tracking.mirror import Mirror

CORE_LIBRARIES = ("ray", "torch", "pyarrow", "mlflow")
WORKER_DEATHS = {
    "ActorDiedError", "ActorUnavailableError", "LocalRayletDiedError", "NodeDiedError", "OutOfMemoryError",
    "OwnerDiedError", "WorkerCrashedError", "WorkerHealthCheckFailedError", "RuntimeEnvSetupError",
}  # fmt: skip
"""Ray's errors for a process or a node that died, by name, because Ray is not imported here."""


@dataclass
class Execution:
    """One execution of a plan: the state that its steps share."""

    recipe: LoadedRecipe
    plan: RunPlan
    store: Store
    run: Run
    cluster: Cluster
    display: Display
    asked_to_stop: Any
    attempt: int
    ready: dict[str, Artifact] = field(default_factory=dict)


def run_recipe(
    recipe: LoadedRecipe,
    plan: RunPlan,
    display: Display,
    *,
    command: str,
    rerun: Collection[str] = (),
    run: Run | None = None,
    cluster: Cluster | None = None,
    track: bool = True,
    conclude: Callable[[Run], object] = lambda run: None,
) -> Run:
    """Executes `plan` and returns the run. If the run fails, records the error and raises it again.

    `conclude` is called after the run has ended, also after an error. It writes the report, which is then recorded in
    MLflow. A sweep passes `run` and `cluster`, and records its trials in MLflow itself (`track=False`).
    """
    store = Store(storage_root(recipe))
    try:
        with storage.explained(store.root):
            store.root.mkdir(parents=True, exist_ok=True)
    except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
        raise StorageError(
            f"`{store.root}` cannot be made: {error.strerror}", hint="set `storage_path` to a folder you may write to"
        ) from None
    with storage.explained(store.root):
        run = run or runs.find_unfinished(store.root, plan) or runs.create(store.root, recipe, plan)
    wait = _once(display, f"run `{run.name}` is continued by process {{0.pid}} on {{0.host}}; waiting until it ends")
    with ExitStack() as stack:
        stack.enter_context(storage.explained(run.folder))
        stack.enter_context(lease.hold(run.folder, run.name, waiting=wait))
        attempt = 1 + sum(event["event"] == "run_started" for event in run.events())
        runs.start(run, command=command, attempt=attempt, source=git_state(recipe.path.parent))
        asked = stack.enter_context(stopping.graceful(run.stop_file))
        stack.enter_context(native_errors_to(run.log_file(RAY_LOG)))
        stack.enter_context(display)
        mirror = stack.enter_context(Mirror(run.folder, recipe.settings.tracking, display.say, {})) if track else None
        own = cluster is None
        cluster = cluster or Cluster(recipe.settings.cluster)
        if own:
            stack.callback(cluster.stop)
        stack.callback(setattr, cluster, "on_death", cluster.on_death)
        cluster.on_death = asked.fail
        execution = Execution(recipe, plan, store, run, cluster, display, asked, attempt)
        _discard(execution, rerun)
        try:
            for planned in plan.stages:
                execution.ready[planned.name] = _stage(execution, planned)
        except BaseException as error:  # recorded, and raised again
            stopped = isinstance(error, Stopped | KeyboardInterrupt)
            with suppress(StorageError, LeaseLost, OSError):  # a full disk must not hide the error
                run.record("run_stopped" if stopped else "run_failed", error=_sentence(error))
                conclude(run)
            raise
        run.record("run_finished")
        conclude(run)
        if mirror:
            made = any(event["event"] == "stage_started" for event in run.events())
            mirror.finish() if made else mirror.leave()  # a run that reused every stage has nothing to wait for
    return run


def _discard(execution: Execution, rerun: Collection[str]) -> None:
    """Deletes the artifacts that `--rerun` names, once per run. A resumed run keeps those that it has made again."""
    done = {event["stage"] for event in execution.run.events() if event["event"] == "stage_discarded"}
    for name in rerun:
        if name not in done:
            planned = execution.plan.stage(name)
            folder = planned.folder(execution.store)
            with lease.hold(folder, execution.run.name, waiting=_waiting(execution, name)):
                execution.store.clear(folder)
            execution.run.record("stage_discarded", stage=name)


def _stage(execution: Execution, planned: PlannedStage) -> Artifact:
    """The artifact of one stage: an existing one that matches its inputs, or else a new one."""
    if execution.asked_to_stop.is_set() or execution.run.stop_file.exists():
        raise Stopped("stopped as asked", hint="run the same command again to continue")
    folder = planned.folder(execution.store)
    found = None if lease.holder(folder) else _usable(execution, planned)
    while found is None:
        try:
            with (
                storage.explained(folder),
                lease.hold(folder, execution.run.name, waiting=_waiting(execution, planned.name)) as held,
            ):
                found = _usable(execution, planned)  # another run may have made it while this one waited
                if found is None:
                    return _make(execution, planned, folder, held)
        except LeaseLost as error:
            fences.check(execution.run.folder)  # ends this process if another one continues the run
            execution.display.say(f"{planned.name}: {error.message}; waiting to reuse its result")
    if (found.path / "work").exists():  # its maker was killed after the manifest
        with lease.hold(folder, execution.run.name, waiting=_waiting(execution, planned.name)):
            shutil.rmtree(found.path / "work", ignore_errors=True)
    path = found.path.relative_to(execution.store.root).as_posix()
    execution.run.record(
        "stage_reused", stage=planned.name, kind=planned.kind, fingerprint=planned.fingerprint, path=path
    )
    execution.display.finished(planned.name, "reused", planned.why, 0.0)
    return found


def _usable(execution: Execution, planned: PlannedStage) -> Artifact | None:
    artifact = execution.store.find(planned.kind, planned.fingerprint)
    if artifact is None:
        return None
    artifact.verify(hashes=False)
    if any(stale(artifact, kind, execution.ready[source]) for kind, source in planned.inputs.items()):
        return None
    return artifact


def _make(execution: Execution, planned: PlannedStage, folder: Path, held: Lease) -> Artifact:
    stage = stages.load(planned.kind)
    config = execution.recipe.stage(planned.name).config
    inputs: Inputs = {kind: execution.ready[source] for kind, source in planned.inputs.items()}
    check = InputCheck(planned, stage, config, inputs)
    left = execution.store.find(planned.kind, planned.fingerprint)
    source = {"inputs": {k: a.manifest.digest for k, a in inputs.items()}, "outside": check.outside_states}
    if left is not None or _begun_from_others(folder, source):
        execution.store.clear(folder)
    begun = list(storage.read_lines(folder / "attempts.jsonl"))
    attempt = 1 + len({line.get("attempt") for line in begun})
    spent = sum(line.get("seconds", 0.0) for line in begun)
    draft = Draft(folder, planned.fingerprint, attempt=attempt)
    storage.append_line(folder / "attempts.jsonl", {"attempt": attempt, "run": execution.run.name, **source})
    relative = folder.relative_to(execution.store.root).as_posix()
    facts = {"stage": planned.name, "kind": planned.kind, "fingerprint": planned.fingerprint, "path": relative}
    execution.run.record("stage_started", **facts, attempt=attempt, why=planned.why)
    execution.display.started(planned.name, planned.why)
    started = time.monotonic()
    try:
        with _log(execution.run.log_file(planned.name), planned.name, execution.display.say) as log:
            context = _context(execution, planned.name, config, log, held, check)
            check.verify()
            stage.run(config, inputs, draft, context)
            try:
                check.check()
            except InputChanged:
                execution.store.clear(folder)
                raise
            if draft.counts is not None and draft.counts.documents_out == 0:
                raise NothingLeft(
                    f"nothing is left after `{planned.name}`: {_losses(draft.counts)}",
                    hint=f"see why: `bessemer show {execution.run.name} {planned.name} --dropped`",
                )
            seconds = spent + time.monotonic() - started
            settings = execution.recipe.settings
            draft.metrics |= money(settings.cost, draft.resolved, seconds, here=settings.cluster.address is None)
            artifact = _seal(stage, planned, draft, inputs, seconds)
            shutil.rmtree(folder / "work", ignore_errors=True)  # after the manifest, because a restart needs it
    except BaseException as error:  # recorded, and raised again
        seconds = time.monotonic() - started
        state = "stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed"
        cause: BaseException = getattr(error, "cause", None) or error  # Ray keeps a worker's exception there
        died = None if state == "stopped" else execution.cluster.death()
        shown = died or storage.no_space(cause, folder) or check.explain(error)
        with suppress(StorageError, LeaseLost, OSError):  # a full disk must not hide the error
            storage.append_line(folder / "attempts.jsonl", {"attempt": attempt, "seconds": seconds})
            execution.run.record(f"stage_{state}", **facts, attempt=attempt, seconds=seconds, error=_sentence(shown))
        execution.display.finished(planned.name, state, _sentence(shown), seconds)
        if isinstance(shown, Exception) and not isinstance(shown, BessemerError):
            failed = StageFailed(
                f"`{planned.name}` failed: {_sentence(error)}",
                hint=f"the traceback: bessemer logs {execution.run.name} --stage {planned.name}",
            )
            failed.may_pass = _lies_outside(error)
            raise failed from error
        if shown is not error:
            raise shown from error
        raise
    seconds = time.monotonic() - started
    execution.run.record("stage_finished", **facts, attempt=attempt, seconds=seconds)
    execution.display.finished(planned.name, "finished", summary(artifact.manifest), seconds)
    return artifact


def _seal(stage: Stage, planned: PlannedStage, draft: Draft, inputs: Inputs, seconds: float) -> Artifact:
    """Hashes the files and writes the manifest, which makes the folder an artifact."""
    storage.remove_temporary(draft.path)
    files, digest = describe_files(draft.path)
    manifest = Manifest(
        kind=stage.produces,
        stage=planned.kind,
        stage_version=stage.version,
        fingerprint=planned.fingerprint,
        config=planned.config,
        resolved=draft.resolved,
        inputs={
            kind: {
                "stage": artifact.manifest.stage,
                "fingerprint": artifact.manifest.fingerprint,
                "digest": artifact.manifest.digest,
            }
            for kind, artifact in inputs.items()
        },
        files=files,
        digest=digest,
        counts=draft.counts,
        metrics=draft.metrics,
        versions={"bessemer": __version__, **versions({*stage.libraries, *CORE_LIBRARIES})},
        seconds=round(seconds, 3),
        attempts=draft.attempt,
        created_at=runs.now(),
        extra={IDENTITY: planned.identity},
    )
    manifest.write(draft.path)
    return Artifact(draft.path, manifest)


def _begun_from_others(folder: Path, source: dict[str, Any]) -> bool:
    """Whether the unfinished work in `folder` was started, or may have been started, with other input bytes."""
    attempts = [line for line in storage.read_lines(folder / "attempts.jsonl") if "inputs" in line]
    return any(line.get(name, source[name]) != source[name] for line in attempts for name in source)


def _context(
    execution: Execution, name: str, config: Any, log: logging.Logger, held: Lease, check: InputCheck
) -> Context:
    workers = config.num_workers if config.num_workers is not None else execution.recipe.settings.num_workers

    def progress(done: float, total: float, unit: str, **facts: Any) -> None:
        execution.display.progress(name, done, total, unit, facts)

    def check_lease() -> None:
        held.check()
        fences.check(execution.run.folder)

    return Context(
        seed=execution.recipe.settings.seed,
        num_workers=workers,
        log=log,
        stop_file=execution.run.stop_file,
        start_ray=execution.cluster.start,
        progress=progress,
        stopping=execution.asked_to_stop,
        check_lease=check_lease,
        check_outside=check.check_outside,
    )


def _once(display: Display, message: str) -> Callable[[Owner], None]:
    """Shows a message about the owner of a lease, once per owner."""
    return cache(lambda owner: display.say(message.format(owner)))


def _waiting(execution: Execution, name: str) -> Callable[[Owner], None]:
    message = "run `{0.run}` (process {0.pid} on {0.host}) is making this artifact; waiting to reuse it"
    show = _once(execution.display, f"{name}: {message}")

    def wait(owner: Owner) -> None:
        show(owner)
        if execution.asked_to_stop.is_set():
            raise Stopped("stopped as asked", hint="run the same command again to continue")

    return wait


@contextmanager
def _log(path: Path, name: str, say: Callable[[str], None]) -> Iterator[logging.Logger]:
    """A logger that writes to the run's `logs/<stage>.txt`, and passes warnings to `say` too.

    An error that ends the stage is logged with its traceback.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(f"bessemer.stage.{name}")
    log.setLevel(logging.INFO)
    log.propagate = False
    handler = storage.LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    shown = _Warnings(name, say)
    log.addHandler(shown)
    try:
        yield log
    except BaseException as error:
        log.error("%s", redact("".join(traceback.format_exception(error))))
        raise
    finally:
        log.removeHandler(shown)
        log.removeHandler(handler)
        handler.close()


class _Warnings(logging.Handler):
    """Shows the warnings of a stage while it runs. The command shows the errors."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._name = name
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self._say(f"warning: {self._name}: {printable_line(record.getMessage())}")


def summary(manifest: Manifest) -> str:
    """One line about an artifact: counts, or its headline metrics."""
    counts = manifest.counts
    if counts is not None:
        parts = [f"{format_count(counts.documents_in)} in"]
        parts += [f"{format_count(counts.created)} created"] if counts.created else []
        parts += [f"{format_count(counts.documents_out)} out", f"{format_count(counts.removed)} removed"]
        parts += [f"{format_count(counts.files_failed)} files failed"] if counts.files_failed else []
        return ", ".join(parts)
    return ", ".join(f"{name} {format_number(value)}" for name, value in sorted(manifest.metrics.items())[:4])


def _losses(counts: Counts) -> str:
    failed = f"{format_count(counts.files_failed)} files could not be read"
    if counts.files_failed and not counts.removed:
        return failed
    removed = f"all {format_count(counts.removed)} were removed"
    return f"{removed}, and {failed}" if counts.files_failed else removed


def _lies_outside(error: BaseException) -> bool:
    """Whether the environment caused an error: the network, the memory, a worker process that died."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):  # a worker's exception, which Ray wraps
        return _lies_outside(cause)
    return isinstance(error, ConnectionError | TimeoutError | MemoryError) or type(error).__name__ in WORKER_DEATHS


def _sentence(error: BaseException) -> str:
    if isinstance(error, BessemerError):
        return error.message
    cause: BaseException = getattr(error, "cause", None) or error  # Ray keeps a worker's exception there
    first = (str(cause).strip().splitlines() or [""])[0]
    return f"{type(cause).__name__}: {first}" if first else type(cause).__name__
