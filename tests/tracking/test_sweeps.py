"""A sweep is one run, its trials are flat runs below it, and no trial registers a model."""

from __future__ import annotations

from typing import Any

from bessemer import storage
from bessemer.recipe.recipe import TrackingSettings
from bessemer.tracking.mirror import catch_up
from bessemer.tracking.sweeps import record_sweep

SWEEP = "toy-20260101-000000-0000"
RESULT = {
    "metric": "validation/bits_per_byte",
    "mode": "min",
    "trials": [{"name": "t1", "metric": 1.8}, {"name": "t2", "metric": 1.7}, {"name": "t3", "metric": None}],
}


def test_a_sweep_with_shared_stages_and_trials(recorded: Any, make_run: Any) -> None:
    sweep = make_run(SWEEP)
    shared = make_run("shared", SWEEP)
    shared.event("stage_started", "read", attempt=1)
    shared.seal("read", counts={"documents_out": 3})
    shared.event("stage_finished", "read")
    shared.event("run_finished")
    for name in ("t1", "t2"):
        trial = make_run(name, f"{SWEEP}/trials")
        trial.whole()
    sweep.event("run_finished")
    storage.write_json(sweep.folder / "sweep.json", RESULT)
    said: list[str] = []
    record_sweep(sweep.folder, TrackingSettings(), RESULT, said.append)

    found = recorded.runs()
    assert (sorted(found), said) == (["read", "t1", "t2", SWEEP], [])
    for name in ("read", "t1", "t2"):
        assert found[name].data.tags["mlflow.parentRunId"] == found[SWEEP].info.run_id
        assert found[name].info.status == "FINISHED"
    assert recorded.points("t1", "train/loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert found["t1"].data.metrics["evaluate/validation/bits_per_byte"] == 1.8
    assert found["t1"].data.params["pretrain.learning_rate"] == "0.001"
    assert found[SWEEP].data.tags["bessemer.best_trial"] == "t2"
    assert found[SWEEP].data.metrics["read/data/documents_out"] == 3
    assert not recorded.client.search_registered_models()
    assert catch_up(recorded.client, recorded.root, recorded.uri) == 0
