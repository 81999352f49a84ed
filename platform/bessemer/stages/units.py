"""Units of work: the piece that is done, or redone, whole.

A stage cuts its input into units, bounded in bytes and defined by content. A worker turns a unit into files, each
renamed into place, and answers with a small receipt (a JSON object), which is written last. A unit with a receipt is
never done again, so a stage that was killed continues where it stood, and the result is the same bytes whatever the
number of workers, their order, or what died on the way. Texts never pass through the driver.

With `num_workers` 0 the units are done in this process. Otherwise they enter Ray Data by `from_items`, one a block,
and an actor pool works on them; the pool reserves at most all CPUs but one, so that Ray's own tasks never starve.

A unit whose worker died twice is done again with `careful=True`: then `document_units` gives each document to a child
process, and the one that kills it gets the verdict `crashed`. So does one at which a worker raises what it should not.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from bessemer import fences, storage
from bessemer.artifacts.documents import SCHEMA
from bessemer.artifacts.ledger import CRASHED, Counts, ledger_schema, ledger_table
from bessemer.artifacts.tables import TableWriter
from bessemer.child_process import ChildEnded, ChildProcess
from bessemer.errors import BessemerError
from bessemer.stages.base import Context

DEATHS_BEFORE_CARE = 2


@dataclass(frozen=True)
class Unit:
    """One piece of work. `name` names its files and receipt; `payload` is anything picklable and small."""

    name: str
    payload: Any


class Worker(Protocol):
    """Does units in one process. Made once a process by a picklable factory, so it may hold models."""

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        """Writes the unit's files and returns its receipt: a small JSON object."""


def run_units(
    units: Sequence[Unit],
    make_worker: Callable[[], Worker],
    receipts: Path,
    context: Context,
    *,
    unit_name: str = "units",
    has_model: bool = False,
) -> list[dict[str, Any]]:
    """Does every unit that has no receipt below `receipts` yet; returns all receipts in the order of `units`.

    `has_model` says that a worker computes with a model: on a cluster with GPUs it gets one, or its share of one.
    Raises the first BessemerError of a unit; anything else that a worker raises is raised as it is.
    """
    assert len({unit.name for unit in units}) == len(units), "two units with one name"
    receipts.mkdir(parents=True, exist_ok=True)
    done: dict[str, dict[str, Any]] = {}
    for unit in units:
        receipt = _read_receipt(receipts / f"{unit.name}.json", context)
        if receipt is not None:
            done[unit.name] = receipt
    missing = [unit for unit in units if unit.name not in done]
    context.progress(len(done), len(units), unit_name)
    workers = resolve_workers(context, len(missing), has_model=has_model)
    results = (
        _in_process(missing, make_worker, receipts)
        if workers == 0
        else _on_ray(missing, make_worker, receipts, context, workers, has_model=has_model)
    )
    with contextlib.closing(results):
        context.check_stop()
        for name, receipt in results:
            done[name] = receipt
            context.progress(len(done), len(units), unit_name)
            context.check_stop()
    return [done[unit.name] for unit in units]


def _read_receipt(path: Path, context: Context) -> dict[str, Any] | None:
    """The receipt of a unit; None if the unit must be done, also because its receipt is damaged."""
    try:
        receipt = storage.read_json(path)
    except ValueError:
        receipt = ()
    if isinstance(receipt, dict):
        return receipt
    if path.exists():
        context.log.warning("the receipt `%s` is damaged; its unit is done again", path)
    return None


def resolve_workers(context: Context, num_units: int, *, has_model: bool = False) -> int:
    """The number of worker processes: 0 for none, else at most one per unit.

    `auto` is one per GPU if workers compute with a model and the cluster has GPUs, else one per CPU.
    """
    if context.num_workers == 0 or num_units == 0:
        return 0
    if context.num_workers != "auto":
        assert isinstance(context.num_workers, int), "a range is for training"
        return min(context.num_workers, num_units)
    found = context.start_ray().cluster_resources()
    gpus = int(found.get("GPU", 0)) if has_model else 0
    return min(num_units, gpus or max(1, int(found.get("CPU", 1))))


def actor_resources(found: Mapping[str, float], workers: int, *, has_model: bool) -> dict[str, float]:
    """The CPUs and GPUs of each of `workers` actors on a cluster with the resources `found`.

    More actors than GPUs share them evenly. An actor that asks for no GPU would see all of them and use the first.
    """
    cpus, gpus = max(1, int(found.get("CPU", 1))), int(found.get("GPU", 0))
    each = {"num_cpus": min(1.0, max(cpus - 1, 0.5) / workers)}
    if has_model and gpus:
        each["num_gpus"] = 1 / math.ceil(workers / gpus)
    return each


@dataclass
class _Task:
    """One unit in one worker process: counts its deaths, does it, writes the receipt."""

    receipts: Path
    work: Worker

    def __call__(self, unit: Unit) -> dict[str, Any]:
        deaths = len(list(self.receipts.glob(f"{unit.name}.begun-*")))
        marker = self.receipts / f"{unit.name}.begun-{os.getpid()}-{deaths}"
        marker.touch()
        try:
            receipt = self.work(unit, careful=deaths >= DEATHS_BEFORE_CARE)
        except BaseException:  # the process lives, so this is not a death that makes the next attempt careful
            marker.unlink(missing_ok=True)
            raise
        storage.write_json(self.receipts / f"{unit.name}.json", receipt)
        for marker in self.receipts.glob(f"{unit.name}.begun-*"):
            marker.unlink(missing_ok=True)
        return receipt


def _in_process(
    units: Sequence[Unit], make_worker: Callable[[], Worker], receipts: Path
) -> Generator[tuple[str, dict[str, Any]], None, None]:
    if units:
        task = _Task(receipts, make_worker())
        for unit in units:
            yield unit.name, task(unit)


class _Actor:
    """A Ray Data actor: the worker is made once, each row is one unit."""

    def __init__(self, receipts: str, make_worker: Callable[[], Worker], fenced: Mapping[Path, Path]) -> None:
        fences.adopt(fenced)
        self._task = _Task(Path(receipts), make_worker())

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import cloudpickle

        (unit,) = (cloudpickle.loads(item) for item in batch["unit"])
        try:
            outcome: Any = self._task(unit)
        except BessemerError as error:  # raised again in the driver, without Ray's traceback around it
            outcome = error
        return {"name": [unit.name], "outcome": [cloudpickle.dumps(outcome)]}


def _on_ray(
    units: Sequence[Unit],
    make_worker: Callable[[], Worker],
    receipts: Path,
    context: Context,
    workers: int,
    *,
    has_model: bool,
) -> Generator[tuple[str, dict[str, Any]], None, None]:
    resources = actor_resources(context.start_ray().cluster_resources(), workers, has_model=has_model)
    import cloudpickle
    import ray.data

    rows = [{"unit": cloudpickle.dumps(unit)} for unit in units]
    results = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Actor,
        fn_constructor_args=(str(receipts), make_worker, fences.table()),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=workers),
        **resources,
    )
    for row in results.iter_rows():
        outcome = cloudpickle.loads(row["outcome"])
        if isinstance(outcome, BessemerError):
            raise outcome
        yield row["name"], outcome


# ------------------------------------------------------------------------------------------------ documents


class DocumentWorker(Protocol):
    """What a per-document stage supplies to `document_units`."""

    signals: Sequence[str]
    """The names of what is measured: the ledger's `signals`, in this order; empty where nothing is."""

    def read(self, payload: Any) -> Iterator[pa.Table]:
        """The unit's input in bounded batches; each has at least the columns `id` and `url`."""

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        """(documents, ledger) of a batch: a pure function, the same for a batch as for its rows one at a time."""


def document_units(
    units: Sequence[Unit],
    make_worker: Callable[[], DocumentWorker],
    context: Context,
    *,
    data: Path,
    ledger: Path,
    receipts: Path,
    unit_name: str = "units",
    created: bool = False,
    schema: pa.Schema = SCHEMA,
    has_model: bool = False,
) -> Counts:
    """Runs a per-document stage: unit NAME becomes `data/NAME.parquet` and `ledger/NAME.parquet`. Returns the counts.

    `created` says that the stage creates the documents (a reader), so none come in. `schema` is that of the output, if
    it is not documents. `has_model` is as in `run_units`. Raises CountMismatch unless in + created = out + removed in
    every unit.
    """
    make = partial(_DocumentUnits, make_worker, data, ledger, created, schema)
    found = run_units(units, make, receipts, context, unit_name=unit_name, has_model=has_model)
    total = sum((Counts(**receipt) for receipt in found), Counts())
    total.check()
    return total


@dataclass
class _DocumentUnits:
    make_worker: Callable[[], DocumentWorker]
    data: Path
    ledger: Path
    created: bool
    schema: pa.Schema
    worker: DocumentWorker = field(init=False)

    def __post_init__(self) -> None:
        self.worker = self.make_worker()

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        careful_process = partial(_process_carefully, self.make_worker, self.schema, self.created)
        process = careful_process if careful else self._process
        total = Counts()
        with (
            TableWriter(self.ledger / f"{unit.name}.parquet", ledger_schema(self.worker.signals)) as ledger_file,
            TableWriter(self.data / f"{unit.name}.parquet", self.schema) as data_file,
        ):
            for batch in filter(len, self.worker.read(unit.payload)):
                documents, verdicts = process(batch)
                data_file.write(documents)
                ledger_file.write(verdicts)
                total += Counts.of(documents, verdicts, bytes_in=batch.nbytes)
        return asdict(total)

    def _process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        """The batch at once; if that fails, each document by itself, and those that fail get the verdict `crashed`."""
        try:
            return self.worker.process(batch)
        except BessemerError:
            raise
        except Exception as error:  # noqa: BLE001 - one document's defect must not cost the others: it is in the ledger
            if len(batch) == 1:
                return _crashed(batch, f"{type(error).__name__}: {error}", self.schema, self.created)
        outcomes = [self._process(batch.slice(index, 1)) for index in range(len(batch))]
        return _together(outcomes)


def _crashed(row: pa.Table, evidence: str, schema: pa.Schema, created: bool) -> tuple[pa.Table, pa.Table]:
    ledger = ledger_table(row["id"], row["url"], [CRASHED], rules=[CRASHED], evidence=[evidence[:500]], created=created)
    return schema.empty_table(), ledger


def _together(outcomes: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
    documents, verdicts = zip(*outcomes, strict=True)
    return pa.concat_tables(documents), pa.concat_tables(verdicts, promote_options="default")


def _process_carefully(
    make_worker: Callable[[], DocumentWorker], schema: pa.Schema, created: bool, batch: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Each document in a child process; one that kills its process, or raises, is removed as `crashed`."""
    import cloudpickle

    factory = cloudpickle.dumps(make_worker)
    outcomes = []
    with ChildProcess() as child:
        for index in range(len(batch)):
            row = batch.slice(index, 1)
            try:
                outcome = child.call(_process_in_child, factory, row)
            except BessemerError:
                raise
            except ChildEnded as ended:
                outcome = _crashed(row, str(ended), schema, created)
            except Exception as error:  # noqa: BLE001 - as in `_process`
                outcome = _crashed(row, f"{type(error).__name__}: {error}", schema, created)
            outcomes.append(outcome)
    return _together(outcomes)


def _process_in_child(factory: bytes, row: pa.Table) -> tuple[pa.Table, pa.Table]:
    return _worker_of(factory).process(row)


@lru_cache(maxsize=1)
def _worker_of(factory: bytes) -> DocumentWorker:
    import cloudpickle

    worker: DocumentWorker = cloudpickle.loads(factory)()
    return worker
