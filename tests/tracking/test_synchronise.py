"""Tests that MLflow has every record of a run exactly once, after repeated calls and after crashes at any call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tracking.fake_run import FakeRun

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.tracking import synchronise
from bessemer.tracking.synchronise import flatten


def everything(recorded: Any) -> dict[str, Any]:
    """All records in MLflow, in a form that `==` can compare."""
    found = {}
    for name, run in recorded.runs().items():
        found[name] = {
            "params": run.data.params,
            "tags": {k: v for k, v in run.data.tags.items() if k.startswith("bessemer.")},
            "points": {key: recorded.points(name, key) for key in run.data.metrics},
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time),
            "inputs": sorted((i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs),
            "files": sorted(file.path for file in recorded.client.list_artifacts(run.info.run_id)),
        }
    return found


def test_a_run_is_recorded_with_its_stages(recorded: Any, fake_run: Any) -> None:
    fake_run.whole()
    storage.write_text(fake_run.folder / "logs" / "pretrain.txt", "a line\n")
    storage.write_text(fake_run.folder / "report.html", "<p>report</p>")
    recorded.mirror(fake_run).synchronise()
    found = everything(recorded)

    assert sorted(found) == ["evaluate", "pretrain", "read", fake_run.name]
    parent = recorded.runs()[fake_run.name]
    for stage in ("read", "pretrain", "evaluate"):
        assert recorded.runs()[stage].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert found["pretrain"]["params"] == {
        "learning_rate": "0.001",
        "layers": "[1, 2]",
        "note": "null",
        "resolved.micro_batch_size": "8",
    }
    assert found["pretrain"]["points"]["train/loss"] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert found["pretrain"]["points"]["validation/bits_per_byte"] == [(3, 1.9)]
    assert found["pretrain"]["inputs"] == [("read", "a" * 32)]
    assert found["pretrain"]["files"] == ["pretrain.txt"]
    assert found["read"]["points"]["data/removed"] == [(0, 2.0)]
    assert found["read"]["files"] == ["removed_by_rule.json"]
    headline = found[fake_run.name]
    assert headline["params"]["pretrain.learning_rate"] == "0.001"
    assert headline["params"]["seed"] == "1"
    assert headline["points"]["pretrain/validation/bits_per_byte"] == [(1, 1.9)]
    assert headline["points"]["evaluate/validation/bits_per_byte"] == [(2, 1.8)]
    assert headline["points"]["read/data/documents_out"] == [(0, 3.0)]
    assert headline["inputs"] == [("read", "a" * 32)]
    assert headline["files"] == ["plan.json", "recipe.yaml", "report.html", "resolved.yaml"]
    assert {run["status"] for run in found.values()} == {"FINISHED"}
    assert headline["times"] == (1_800_000_001_000, fake_run.clock * 1000)


def test_a_repeated_call_changes_nothing(recorded: Any, fake_run: Any) -> None:
    fake_run.whole()
    mirror = recorded.mirror(fake_run)
    mirror.synchronise()
    before = everything(recorded)
    mirror.synchronise()
    recorded.mirror(fake_run).synchronise()
    assert everything(recorded) == before
    assert len(recorded.client.search_model_versions("name = 'toy-base'")) == 1


def test_a_resumed_training_repeats_steps_but_not_points(recorded: Any, fake_run: Any) -> None:
    mirror = recorded.mirror(fake_run)
    fake_run.event("stage_started", "pretrain", attempt=1)
    for step in range(1, 6):
        fake_run.point("pretrain", 1, step, train__loss=float(step))
    with lease.hold(fake_run.folder, fake_run.name, waiting=lambda owner: None):
        mirror.synchronise()
        assert recorded.runs()["pretrain"].info.status == "RUNNING"
    mirror.synchronise()
    assert {run.info.status for run in recorded.runs().values()} == {"KILLED"}, "it died without an event"

    fake_run.event("run_started", command="bessemer run toy.yaml", attempt=2)
    fake_run.event("stage_started", "pretrain", attempt=2)
    for step in range(3, 8):
        fake_run.point("pretrain", 2, step, train__loss=float(step))
    with lease.hold(fake_run.folder, fake_run.name, waiting=lambda owner: None):
        recorded.mirror(fake_run).synchronise()
        assert {run.info.status for run in recorded.runs().values()} == {"RUNNING"}
    assert recorded.points("pretrain", "train/loss") == [(step, float(step)) for step in range(1, 8)]


class Unlucky:
    """A client whose connection breaks at one call, before or after the server executes it."""

    def __init__(self, client: Any, break_at: int, after: bool) -> None:
        self._client, self._left, self._after = client, break_at, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise ConnectionError
            result = method(*arguments, **options)
            if self._left == 0:
                raise ConnectionError
            return result

        return call


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(break_at=st.integers(1, 45), after=st.booleans(), batch=st.sampled_from([42, 1000]))
def test_whatever_call_breaks_the_next_attempt_completes_the_record(
    recorded: Any, make_run: Callable[..., Any], break_at: int, after: bool, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synchronise, "BATCH_METRICS", batch)
    run = make_run(f"toy-20260101-000000-{len(recorded.runs()):04x}")
    run.whole()
    try:
        recorded.mirror(run, client=Unlucky(recorded.client, break_at, after)).synchronise()
    except ConnectionError:
        recorded.mirror(run).synchronise()
    experiment = recorded.client.get_experiment_by_name("toy")
    found = recorded.client.search_runs([experiment.experiment_id], f"tags.`bessemer.run` = '{run.name}'")
    assert len(found) == 4, "no run is created twice"
    training = next(r for r in found if r.info.run_name == "pretrain")
    points = recorded.client.get_metric_history(training.info.run_id, "train/loss")
    assert [(p.step, p.value) for p in points] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert training.data.params["resolved.micro_batch_size"] == "8"
    assert {r.info.status for r in found} == {"FINISHED"}


def test_half_a_line_waits_until_it_is_whole(recorded: Any, fake_run: Any) -> None:
    fake_run.event("stage_started", "pretrain", attempt=1)
    fake_run.point("pretrain", 1, 1, train__loss=2.0)
    path = fake_run.artifact("pretrain") / "metrics" / "0001.jsonl"
    mirror = recorded.mirror(fake_run)
    with lease.hold(fake_run.folder, fake_run.name, waiting=lambda owner: None):
        with path.open("a") as file:
            file.write('{"step": 2, "timestamp": 1800000099000, ')
        mirror.synchronise()
        assert recorded.points("pretrain", "train/loss") == [(1, 2.0)]
        with path.open("a") as file:
            file.write('"metrics": {"train/loss": NaN}}\n')
        mirror.synchronise()
    assert [step for step, _ in recorded.points("pretrain", "train/loss")] == [1, 2]


def test_a_stage_made_again_in_the_same_run_has_a_run_of_its_own(recorded: Any, fake_run: Any) -> None:
    fake_run.event("stage_started", "pretrain", attempt=1)
    fake_run.point("pretrain", 1, 1, train__loss=2.0)
    recorded.mirror(fake_run).synchronise()
    (fake_run.artifact("pretrain") / "metrics" / "0001.jsonl").unlink()
    fake_run.event("run_started", command="bessemer run --rerun pretrain", attempt=2)
    fake_run.event("stage_discarded", "pretrain")
    fake_run.event("stage_started", "pretrain", attempt=1)
    fake_run.point("pretrain", 1, 1, train__loss=1.5)
    recorded.mirror(fake_run).synchronise()
    experiment = recorded.client.get_experiment_by_name("toy").experiment_id
    found = recorded.client.search_runs([experiment], "tags.`bessemer.stage` = 'pretrain'")
    assert sorted(run.data.metrics["train/loss"] for run in found) == [1.5, 2.0]


def test_a_reused_stage_has_no_run_but_its_results_and_data_on_the_parent(recorded: Any, fake_run: Any) -> None:
    fake_run.seal("read", counts={"documents_out": 3, "removed_by_rule": {}})
    fake_run.event("stage_reused", "read")
    recorded.mirror(fake_run).synchronise()
    found = everything(recorded)
    assert list(found) == [fake_run.name]
    assert found[fake_run.name]["points"]["read/data/documents_out"] == [(0, 3.0)]
    assert found[fake_run.name]["inputs"] == [("read", "a" * 32)]


def test_a_stage_begun_here_and_finished_elsewhere_is_finished(recorded: Any, fake_run: Any) -> None:
    fake_run.event("stage_started", "read", attempt=1)
    recorded.mirror(fake_run).synchronise()
    fake_run.seal("read")
    fake_run.event("run_started", command="again", attempt=2)
    fake_run.event("stage_reused", "read")
    recorded.mirror(fake_run).synchronise()
    assert recorded.runs()["read"].info.status == "FINISHED"


def test_a_failure_is_recorded(recorded: Any, fake_run: Any) -> None:
    fake_run.event("stage_started", "read", attempt=1)
    fake_run.event("stage_failed", "read", error="no seed answered")
    fake_run.event("run_failed", error="no seed answered")
    recorded.mirror(fake_run).synchronise()
    for run in recorded.runs().values():
        assert (run.info.status, run.data.tags["bessemer.error"]) == ("FAILED", "no seed answered")


def test_a_run_that_recovers_loses_its_error(recorded: Any, fake_run: Any) -> None:
    fake_run.event("stage_started", "read", attempt=1)
    fake_run.event("stage_failed", "read", error="no seed answered")
    fake_run.event("run_failed", error="no seed answered")
    recorded.mirror(fake_run).synchronise()
    fake_run.event("run_started", command="bessemer run toy.yaml", attempt=2)
    fake_run.event("stage_started", "read", attempt=2)
    with lease.hold(fake_run.folder, fake_run.name, waiting=lambda owner: None):
        recorded.mirror(fake_run).synchronise()
        assert not [run for run in recorded.runs().values() if "bessemer.error" in run.data.tags]
    fake_run.whole()
    recorded.mirror(fake_run).synchronise()
    assert {run.info.status for run in recorded.runs().values()} == {"FINISHED"}
    assert not [run for run in recorded.runs().values() if "bessemer.error" in run.data.tags]


def test_costs_are_summed_over_the_stages_and_other_results_keep_their_stage(recorded: Any, fake_run: Any) -> None:
    fake_run.seal("read", {"cost/USD": 1.0, "data/documents_out": 3.0})
    fake_run.event("stage_reused", "read")
    fake_run.event("stage_started", "pretrain", attempt=1)
    fake_run.seal("pretrain", {"cost/USD": 20.0, "data/documents_out": 7.0})
    fake_run.event("stage_finished", "pretrain")
    mirror = recorded.mirror(fake_run)
    with lease.hold(fake_run.folder, fake_run.name, waiting=lambda owner: None):
        mirror.synchronise()
    fake_run.event("run_finished")
    mirror.synchronise()
    recorded.mirror(fake_run).synchronise()
    metrics = recorded.runs()[fake_run.name].data.metrics
    assert metrics == {
        "read/cost/USD": 1.0,
        "pretrain/cost/USD": 20.0,
        "cost/USD": 21.0,
        "read/data/documents_out": 3.0,
        "pretrain/data/documents_out": 7.0,
    }
    assert recorded.points(fake_run.name, "cost/USD") == [(1, 21.0)], "the step is the attempt"


def test_the_commit_and_the_command_of_the_newest_attempt_are_tags(recorded: Any, fake_run: Any) -> None:
    fake_run.event("run_failed", error="x")
    recorded.mirror(fake_run).synchronise()
    assert "mlflow.source.git.commit" not in recorded.runs()[fake_run.name].data.tags
    again = {"command": "bessemer run toy.yaml seed=2", "git_commit": "c" * 40, "git_dirty": True}
    fake_run.event("run_started", attempt=2, **again)
    recorded.mirror(fake_run).synchronise()
    tags = recorded.runs()[fake_run.name].data.tags
    assert tags["mlflow.source.git.commit"] == "c" * 40
    assert tags["bessemer.git_dirty"] == "true"
    assert tags["mlflow.source.name"] == "bessemer run toy.yaml seed=2"


def test_more_keys_than_allowed_are_left_out_by_name(
    recorded: Any, fake_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synchronise, "MOST_KEYS", 3)
    fake_run.event("stage_started", "pretrain", attempt=1)
    fake_run.point("pretrain", 1, 1, **{f"train__m{number}": 1.0 for number in range(5)})
    recorded.mirror(fake_run).synchronise()
    run = recorded.runs()["pretrain"]
    assert len(run.data.metrics) == 3
    assert run.data.tags["bessemer.metrics_left_out"] == "train/m3, train/m4"


def test_a_long_setting_is_a_file(recorded: Any, tmp_path: Any) -> None:
    run = FakeRun(tmp_path, config={"prompt": "x" * 7000})
    run.event("stage_started", "pretrain", attempt=1)
    recorded.mirror(run).synchronise()
    found = recorded.runs()["pretrain"]
    assert found.data.params == {"prompt": "see artifact params/prompt.txt"}
    assert [f.file_size for f in recorded.client.list_artifacts(found.info.run_id, "params")] == [7000]


def test_flatten_names_every_leaf() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": [1, {"e": 2}], "f": {}, "g": "x", "h": True}) == {
        "a.b.c": "1",
        "d": '[1, {"e": 2}]',
        "f": "{}",
        "g": "x",
        "h": "true",
    }
