"""Tests that a sweep is a parent run, its trials are child runs, and no trial registers a model."""

from __future__ import annotations

from typing import Any

from bessemer.artifacts import lease
from bessemer.recipe.recipe import TrackingSettings
from bessemer.tracking.mirror import Mirror, catch_up

SWEEP = "toy-20260101-000000-0000"


def test_a_sweep_with_shared_stages_and_trials(recorded: Any, make_run: Any) -> None:
    sweep = make_run(SWEEP)
    shared = make_run("shared", SWEEP)
    shared.event("stage_started", "read", attempt=1)
    shared.seal("read", counts={"documents_out": 3})
    shared.event("stage_finished", "read")
    shared.event("run_finished")
    said: list[str] = []
    with (
        lease.hold(sweep.folder, SWEEP, waiting=lambda owner: None),
        Mirror(sweep.folder, TrackingSettings(), said.append, {"bessemer.sweep_metric": "train/loss"}) as mirror,
    ):
        for name in ("t1", "t2"):
            make_run(name, f"{SWEEP}/trials").whole()
        stopped = make_run("t3", f"{SWEEP}/trials")
        stopped.event("run_stopped", error="stopped as asked")
        sweep.event("run_finished")
        mirror.tag({"bessemer.best_trial": "t2"})  # set after MLflow has recorded the run
        mirror.finish()

    found = recorded.runs()
    assert (sorted(found), said) == (["read", "t1", "t2", "t3", SWEEP], [])
    for name in ("read", "t1", "t2"):
        assert found[name].data.tags["mlflow.parentRunId"] == found[SWEEP].info.run_id
        assert found[name].info.status == "FINISHED"
    assert found["t3"].info.status == "KILLED", "the trial was stopped early; it did not fail"
    assert recorded.points("t1", "train/loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert found["t1"].data.metrics["evaluate/validation/bits_per_byte"] == 1.8
    assert found["t1"].data.params["pretrain.learning_rate"] == "0.001"
    assert found[SWEEP].data.tags["bessemer.sweep_metric"] == "train/loss"
    assert found[SWEEP].data.tags["bessemer.best_trial"] == "t2"
    assert found[SWEEP].data.metrics["read/data/documents_out"] == 3
    assert not recorded.client.search_registered_models()
    assert catch_up(recorded.client, recorded.root, recorded.uri) == 0
