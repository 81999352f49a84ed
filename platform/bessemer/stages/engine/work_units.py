"""Runs a stage as units of work that survive crashes. A unit is the smallest piece that is repeated after a crash.

A stage splits its input into units of bounded size; their content alone defines them. A worker turns a unit into files,
renames each file into place, and returns a small receipt (a JSON object), which is written last. A unit with a receipt
never runs again, so a killed stage continues with the missing units. The output bytes do not depend on the number of
workers, their order, or crashes. Texts never pass through the driver.

With `num_workers` 0 the units run in this process. Otherwise they enter Ray Data through `from_items`, one unit per
block, and an actor pool processes them. The pool leaves at least one CPU free (half of the only CPU, if there is one),
so that Ray's own tasks can always run.

If the worker of a unit has died twice, the unit runs with `careful=True`. `document_units` then processes each document
in a child process. A document that kills its child process gets the verdict `crashed`, and so does a document for which
the worker raises an unexpected exception.
"""

from __future__ import annotations

import contextlib
import itertools
import math
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
    """One piece of work. `name` is the name of its files and its receipt; `payload` is small and picklable."""

    name: str
    payload: Any


class Worker(Protocol):
    """Runs units in one process. A picklable factory makes one worker per process, so a worker may keep a model."""

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
    """Runs every unit without a receipt in the folder `receipts`, and returns all receipts in the order of `units`.

    With `has_model`, workers compute with a model; on a cluster with GPUs each worker gets a GPU or a fraction of one.
    Raises the first error that a worker raises.
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
    """Returns the receipt of a unit, or None if the receipt is missing or damaged and the unit must run."""
    try:
        receipt = storage.read_json(path)
    except ValueError:
        receipt = ()
    if isinstance(receipt, dict):
        return receipt
    if path.exists():
        context.log.warning("the receipt `%s` is damaged; its unit runs again", path)
    return None


def resolve_workers(context: Context, num_units: int, *, has_model: bool = False) -> int:
    """Returns the number of worker processes, at most one per unit; 0 runs the units in this process.

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
    """Returns the CPUs and GPUs that each of `workers` actors requests on a cluster with the resources `found`.

    If there are more actors than GPUs, each requests an equal fraction of a GPU. An actor that requested no GPU would
    see all GPUs and use the first one.
    """
    cpus, gpus = max(1, int(found.get("CPU", 1))), int(found.get("GPU", 0))
    each = {"num_cpus": min(1.0, max(cpus - 1, 0.5) / workers)}
    if has_model and gpus:
        each["num_gpus"] = 1 / math.ceil(workers / gpus)
    return each


@dataclass
class _Task:
    """Runs units in one worker process: counts earlier crashes of the unit, runs it, and writes its receipt.

    Each attempt creates a marker with the next free number, and a crashed attempt leaves its marker. The markers are
    looked up by name, because to list the folder for each unit would cost quadratic time in the number of units.
    """

    receipts: Path
    work: Worker

    def __call__(self, unit: Unit) -> dict[str, Any]:
        deaths = self._begin(unit.name)
        try:
            receipt = self.work(unit, careful=deaths >= DEATHS_BEFORE_CARE)
        except BaseException:  # the process survives, so this does not count as a crash
            self._marker(unit.name, deaths).unlink(missing_ok=True)
            raise
        storage.write_json(self.receipts / f"{unit.name}.json", receipt)
        for number in range(deaths + 1):
            self._marker(unit.name, number).unlink(missing_ok=True)
        return receipt

    def _begin(self, name: str) -> int:
        """Creates the marker of an attempt and returns the number of earlier attempts that crashed."""
        for deaths in itertools.count():
            with contextlib.suppress(FileExistsError):
                self._marker(name, deaths).touch(exist_ok=False)
                break
        return deaths

    def _marker(self, name: str, number: int) -> Path:
        return self.receipts / f"{name}.begun-{number}"


def _in_process(
    units: Sequence[Unit], make_worker: Callable[[], Worker], receipts: Path
) -> Generator[tuple[str, dict[str, Any]], None, None]:
    if units:
        task = _Task(receipts, make_worker())
        for unit in units:
            yield unit.name, task(unit)


class _Actor:
    """A Ray Data actor. It makes one worker, and each row is one unit."""

    def __init__(self, receipts: str, make_worker: Callable[[], Worker], fenced: Mapping[Path, Path]) -> None:
        fences.adopt(fenced)
        self._task = _Task(Path(receipts), make_worker())

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import cloudpickle

        (unit,) = (cloudpickle.loads(item) for item in batch["unit"])
        try:
            outcome: Any = self._task(unit)
        except BessemerError as error:  # the driver raises it again without Ray's traceback
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
    """The part of a per-document stage that `document_units` calls."""

    signals: Sequence[str]
    """Names of the signals that the worker measures, in the order of the ledger's `signals`; may be empty."""

    def read(self, payload: Any) -> Iterator[pa.Table]:
        """Yields the unit's input in batches of bounded size. Each batch has at least the columns `id` and `url`."""

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Returns (documents, ledger) of a batch. It is a pure function, and its result must not depend on batching."""


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
    """Runs a per-document stage and returns its counts.

    Unit NAME becomes `data/NAME.parquet` and `ledger/NAME.parquet`. With `created`, the stage creates the documents (as
    readers do) and has no input documents. `schema` is the schema of the output. `has_model` has the same meaning as in
    `run_units`. Raises CountMismatch unless in + created = out + removed.
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
        """Processes the whole batch. If that fails, processes each document separately; failed ones get `crashed`."""
        try:
            return self.worker.process(batch)
        except BessemerError:
            raise
        except Exception as error:  # noqa: BLE001 - one faulty document must not affect others; the ledger records it
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
    """Processes each document in a child process. Documents that kill it or raise are removed as `crashed`."""
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
