"""Units of work: each is done once and completely, in any order, by any number of workers, also if workers die."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from bessemer.artifacts.documents import SCHEMA, read_parquet
from bessemer.artifacts.ledger import KEPT, REMOVED, ledger_table
from bessemer.errors import CountMismatch, InputError, Stopped
from bessemer.fingerprint import content_hash
from bessemer.stages.engine.work_units import Unit, actor_resources, document_units, resolve_workers, run_units


@pytest.fixture
def ray_here(ray_session: Any) -> Any:
    """Ray with this module pickled by value, since its workers cannot import test modules."""
    ray_session.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray_session
    ray_session.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def documents(names: list[str]) -> pa.Table:
    rows = [
        {
            "id": n,
            "text": n * 3,
            "content_hash": content_hash(n * 3),
            "url": f"file:{n}",
            "source": "s",
            "split": "train",
            "metadata": "{}",
        }
        for n in names
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


@dataclass
class Keeper:
    """Keeps documents, except those whose name says otherwise."""

    folder: Path
    signals = ("length",)

    def read(self, payload: list[str]) -> Iterator[pa.Table]:
        yield documents(payload)

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        ids = batch["id"].to_pylist()
        if "killer" in ids:
            os.kill(os.getpid(), signal.SIGKILL)
        if "defect" in ids:
            raise ZeroDivisionError("a rule's own mistake")
        if "bad" in ids:
            raise InputError("bad input", hint="mend it")
        keep = [not name.startswith("drop") for name in ids]
        lost = batch.filter(pa.array([k and name != "lost" for k, name in zip(keep, ids, strict=True)]))
        verdicts = ledger_table(
            batch["id"],
            batch["url"],
            [KEPT if k else REMOVED for k in keep],
            rules=[None if k else "name" for k in keep],
            signals={"length": [float(len(name)) for name in ids]},
        )
        return lost, verdicts


@dataclass
class MakeKeeper:
    folder: Path

    def __call__(self) -> Keeper:
        return Keeper(self.folder)


def run(folder: Path, context: Any, units: dict[str, list[str]]) -> Any:
    return document_units(
        [Unit(name, payload) for name, payload in units.items()],
        MakeKeeper(folder),
        context,
        data=folder / "data",
        ledger=folder / "ledger",
        receipts=folder / "work",
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for part in ("data", "ledger")
        for p in sorted((folder / part).iterdir())
    }


UNITS = {"00000": ["a", "drop1"], "00001": ["b"], "00002": ["drop2"], "00003": []}


def test_every_document_has_a_verdict_and_counts_add_up(tmp_path: Path, make_context: Callable[..., Any]) -> None:
    counts = run(tmp_path, make_context(), UNITS)
    assert (counts.documents_in, counts.documents_out, counts.removed) == (4, 2, 2)
    assert counts.removed_by_rule == {"name": 2}
    ledger = read_parquet(tmp_path / "ledger" / "00000.parquet").to_pylist()
    assert [row["verdict"] for row in ledger] == ["kept", "removed"]
    assert ledger[1]["signals"] == {"length": 5.0}


def test_a_document_that_goes_missing_fails_the_stage(tmp_path: Path, make_context: Callable[..., Any]) -> None:
    with pytest.raises(CountMismatch, match="documents went missing"):
        run(tmp_path, make_context(), {"00000": ["a", "lost"]})


def test_finished_units_are_not_done_again(tmp_path: Path, make_context: Callable[..., Any]) -> None:
    """A stage that failed half-way continues with the units that have no receipt; the bytes are those of one go."""
    with pytest.raises(InputError):
        run(tmp_path, make_context(), {"00000": ["a", "drop1"], "00001": ["bad"], "00002": ["drop2"], "00003": []})
    untouched = (tmp_path / "data" / "00000.parquet").stat().st_mtime_ns
    counts = run(tmp_path, make_context(), UNITS)
    assert (tmp_path / "data" / "00000.parquet").stat().st_mtime_ns == untouched
    run(tmp_path / "fresh", make_context(), UNITS)
    assert files(tmp_path) == files(tmp_path / "fresh")
    assert counts.documents_in == 4


def test_stop_is_heard_between_units(tmp_path: Path, make_context: Callable[..., Any]) -> None:
    context = make_context()
    context.progress = lambda done, total, unit: context.stopping.set() if done == 1 else None
    with pytest.raises(Stopped):
        run(tmp_path, context, UNITS)
    assert len(list((tmp_path / "work").glob("*.json"))) == 1


def test_ray_gives_the_same_bytes(tmp_path: Path, make_context: Callable[..., Any], ray_here: Any) -> None:
    """One process, one worker, two workers: equal files."""
    run(tmp_path / "0", make_context(), UNITS)
    for workers in (1, 2):
        run(tmp_path / str(workers), make_context(num_workers=workers, start_ray=lambda: ray_here), UNITS)
        assert files(tmp_path / str(workers)) == files(tmp_path / "0")


def test_an_error_in_a_worker_is_the_users_error(
    tmp_path: Path, make_context: Callable[..., Any], ray_here: Any
) -> None:
    with pytest.raises(InputError, match="bad input"):
        run(tmp_path, make_context(num_workers=1, start_ray=lambda: ray_here), {"00000": ["bad"]})


def test_a_document_that_kills_its_worker_is_found_and_removed(
    tmp_path: Path, make_context: Callable[..., Any]
) -> None:
    """After two deaths the unit is done document by document in a child, and only the culprit is lost."""
    (tmp_path / "work").mkdir()
    for death in range(2):
        (tmp_path / "work" / f"00000.begun-{death}").touch()
    counts = run(tmp_path, make_context(), {"00000": ["a", "killer", "b"]})
    assert (counts.documents_out, counts.removed_by_rule) == (2, {"crashed": 1})
    rows = read_parquet(tmp_path / "ledger" / "00000.parquet").to_pylist()
    assert [row["verdict"] for row in rows] == ["kept", "crashed", "kept"]


def test_the_folder_of_receipts_is_not_listed_for_each_unit(
    tmp_path: Path, make_context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crawl has tens of thousands of units, and a listing costs as much as there are receipts."""
    listed: list[Any] = []
    scandir, listdir = os.scandir, os.listdir
    monkeypatch.setattr(os, "scandir", lambda path=".": (listed.append(path), scandir(path))[1])
    monkeypatch.setattr(os, "listdir", lambda path=".": (listed.append(path), listdir(path))[1])
    list(tmp_path.glob("*"))
    assert listed, "the listings are counted"
    listed.clear()
    run(tmp_path, make_context(), {f"{number:05d}": [f"text {number}"] for number in range(5)})
    assert not [path for path in listed if Path(path) == tmp_path / "work"]


@pytest.mark.parametrize("content", [b"", b"null", b"[1]", b'{"documents_in"', b"\xff"])
def test_a_unit_whose_receipt_is_damaged_is_done_again(
    tmp_path: Path, make_context: Callable[..., Any], caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    whole = run(tmp_path, make_context(), {"00000": ["a", "b"]})
    (tmp_path / "work" / "00000.json").write_bytes(content)
    assert run(tmp_path, make_context(), {"00000": ["a", "b"]}) == whole
    assert "is damaged; its unit runs again" in caplog.text


def test_an_attempt_that_died_makes_the_third_one_careful(tmp_path: Path, make_context: Callable[..., Any]) -> None:
    """Each attempt sees the deaths before it, and a finished unit leaves its receipt only."""
    seen: list[bool] = []

    class Died(BaseException):
        pass

    def work(unit: Unit, *, careful: bool) -> dict[str, Any]:
        seen.append(careful)
        if len(seen) < 3:
            monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)  # a dead process removes nothing
            raise Died
        return {}

    for _ in range(2):
        with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Died):
            run_units([Unit("a", None)], lambda: work, tmp_path, make_context())
    assert run_units([Unit("a", None)], lambda: work, tmp_path, make_context()) == [{}]
    assert seen == [False, False, True]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stopped, InputError])
def test_an_attempt_that_ended_by_an_exception_is_not_a_death(
    tmp_path: Path, make_context: Callable[..., Any], error: Any
) -> None:
    """Two Ctrl-C must not make the third attempt work document by document."""

    class Ending(Keeper):
        def read(self, payload: list[str]) -> Iterator[pa.Table]:
            raise error("ended")

    units = [Unit("00000", ["a"])]
    with pytest.raises(error):
        document_units(
            units,
            lambda: Ending(tmp_path),
            make_context(),
            data=tmp_path / "data",
            ledger=tmp_path / "ledger",
            receipts=tmp_path / "work",
        )
    assert not list((tmp_path / "work").iterdir())


@dataclass
class Interrupted(Keeper):
    """Sends its process the signals of a terminal and of a service manager while it works."""

    def process(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        return super().process(batch)


def test_a_request_to_stop_that_reaches_the_child_makes_no_document_crashed(
    tmp_path: Path, make_context: Callable[..., Any]
) -> None:
    """Ctrl-C reaches every process of a terminal, the child that works carefully too."""
    (tmp_path / "work").mkdir()
    for death in range(2):
        (tmp_path / "work" / f"00000.begun-{death}").touch()
    counts = document_units(
        [Unit("00000", ["a", "b"])],
        lambda: Interrupted(tmp_path),
        make_context(),
        data=tmp_path / "data",
        ledger=tmp_path / "ledger",
        receipts=tmp_path / "work",
    )
    assert (counts.documents_out, counts.removed) == (2, 0)


def test_a_document_at_which_a_rule_raises_is_removed_and_the_rest_goes_on(
    tmp_path: Path, make_context: Callable[..., Any]
) -> None:
    counts = run(tmp_path, make_context(), {"00000": ["a", "defect", "b", "drop1"]})
    assert (counts.documents_out, counts.removed_by_rule) == (2, {"crashed": 1, "name": 1})
    rows = read_parquet(tmp_path / "ledger" / "00000.parquet").to_pylist()
    assert rows[1]["evidence"] == "ZeroDivisionError: a rule's own mistake"


class Named:
    """Returns the unit's name."""

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        return {"unit": unit.name}


def test_receipts_come_back_in_the_order_of_the_units(tmp_path: Path, make_context: Callable[..., Any]) -> None:
    units = [Unit(name, None) for name in ("b", "a", "c")]
    assert [r["unit"] for r in run_units(units, Named, tmp_path, make_context())] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("found", "workers", "has_model", "expected"),
    [
        ({"CPU": 9, "GPU": 4}, 4, True, {"num_cpus": 1.0, "num_gpus": 1.0}),
        ({"CPU": 9, "GPU": 4}, 4, False, {"num_cpus": 1.0}),
        ({"CPU": 9, "GPU": 4}, 2, True, {"num_cpus": 1.0, "num_gpus": 1.0}),
        ({"CPU": 9, "GPU": 2}, 3, True, {"num_cpus": 1.0, "num_gpus": 0.5}),  # two of 2 / 3 do not fit on one GPU
        ({"CPU": 3, "GPU": 1}, 4, True, {"num_cpus": 0.5, "num_gpus": 0.25}),
        ({"CPU": 3}, 4, True, {"num_cpus": 0.5}),
        ({"CPU": 1}, 1, True, {"num_cpus": 0.5}),
    ],
)
def test_actors_with_a_model_share_the_gpus(
    found: dict[str, float], workers: int, has_model: bool, expected: dict[str, float]
) -> None:
    assert actor_resources(found, workers, has_model=has_model) == expected


@pytest.mark.parametrize(
    ("found", "wanted", "has_model", "expected"),
    [
        ({"CPU": 16, "GPU": 4}, "auto", True, 4),
        ({"CPU": 16, "GPU": 4}, "auto", False, 16),
        ({"CPU": 16, "GPU": 32}, "auto", True, 20),
        ({"CPU": 16}, "auto", True, 16),
        ({"CPU": 16, "GPU": 4}, 6, True, 6),
        ({"CPU": 16, "GPU": 4}, 0, True, 0),
    ],
)
def test_auto_is_one_worker_per_gpu_where_workers_have_a_model(
    found: dict[str, float], wanted: Any, has_model: bool, expected: int, make_context: Callable[..., Any]
) -> None:
    cluster = SimpleNamespace(cluster_resources=lambda: found)
    context = make_context(num_workers=wanted, start_ray=lambda: cluster)
    assert resolve_workers(context, 20, has_model=has_model) == expected


def test_units_with_a_model_ask_ray_for_gpus(
    make_context: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster that says it has two; the actors run here."""
    import ray

    asked: list[dict[str, Any]] = []

    class Rows(list[dict[str, Any]]):
        def map_batches(self, actor: Any, *, fn_constructor_args: Any, **options: Any) -> Rows:
            asked.append(options)
            made = actor(*fn_constructor_args)
            answers = [made({"unit": [row["unit"]]}) for row in self]
            return Rows({key: value[0] for key, value in answer.items()} for answer in answers)

        def iter_rows(self) -> Iterator[dict[str, Any]]:
            return iter(self)

    data = SimpleNamespace(
        from_items=lambda rows, **_: Rows(rows), ActorPoolStrategy=lambda size: size, DataContext=object
    )
    monkeypatch.setitem(sys.modules, "ray.data", data)
    monkeypatch.setattr(ray, "data", data)
    cluster = SimpleNamespace(cluster_resources=lambda: {"CPU": 8, "GPU": 2})
    context = make_context(num_workers="auto", start_ray=lambda: cluster)
    units = [Unit(name, name) for name in "abcde"]
    for has_model in (True, False):
        receipts = tmp_path / str(has_model)
        assert [r["unit"] for r in run_units(units, Named, receipts, context, has_model=has_model)] == list("abcde")
    assert (asked[0]["compute"], asked[0]["num_gpus"]) == (2, 1.0)
    assert asked[1]["compute"] == 5
    assert "num_gpus" not in asked[1]
