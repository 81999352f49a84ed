"""The best trial has a finite metric, and the command that repeats it has all digits of its values."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from bessemer import storage
from bessemer.errors import RayDied
from bessemer.runner import runs
from bessemer.runner.cluster import Cluster
from bessemer.runner.display import make_display
from bessemer.runner.plan import load_recipe
from bessemer.runner.sweep import SweepResult, TrialResult, best_assignments, run_sweep
from bessemer.runner.sweep_plan import SweepPlan


def result(mode: str, *trials: TrialResult) -> SweepResult:
    return SweepResult("loss", mode, {"seed": 0}, list(trials))


@pytest.mark.parametrize(("mode", "best"), [("min", "b"), ("max", "a")])
@pytest.mark.parametrize("odd", [None, math.nan, math.inf, -math.inf])
def test_the_best_trial_is_first_and_those_without_a_number_are_last(mode: str, best: str, odd: float | None) -> None:
    trials = [
        TrialResult("odd", {}, "finished", odd), TrialResult("a", {}, "finished", 2.0),
        TrialResult("odd too", {}, "stopped early", odd), TrialResult("b", {}, "stopped early", 1.0),
    ]  # fmt: skip
    for order in (trials, trials[::-1]):
        ranked = result(mode, *order).ranked()
        assert ranked[0].name == best
        assert {trial.name for trial in ranked[2:]} == {"odd", "odd too"}


def test_a_failed_trial_is_never_the_best() -> None:
    failed, finished = TrialResult("a", {}, "failed", 0.1), TrialResult("b", {}, "finished", 3.0)
    assert result("min", failed, finished).best is finished
    assert result("min", failed, TrialResult("c", {}, "finished", math.nan)).best is None
    assert result("max").best is None


def test_the_file_of_a_sweep_is_json_and_names_the_best(tmp_path: Path) -> None:
    found = result("min", TrialResult("a", {"x": 1e-5}, "failed", math.nan), TrialResult("b", {}, "finished", 3.0))
    storage.write_json(tmp_path / "sweep.json", found.to_json())
    read = json.loads((tmp_path / "sweep.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (read["best"], [trial["metric"] for trial in read["trials"]]) == ("b", [3.0, None])


def test_the_command_of_the_best_trial_makes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.txt").write_text("Here is a document.")
    recipe = "name: toy\nstages:\n  ingest: {paths: [nowhere]}\n  dedup:\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    monkeypatch.chdir("/")
    values: dict[str, Any] = {"dedup.threshold": 0.7463335123456789, "ingest.paths": ["documents"], "seed": 3}
    loaded = load_recipe(tmp_path / "recipe.yaml", [])
    assignments = best_assignments(loaded, TrialResult("a", values, "finished", 1.0))
    assert assignments[0] == "dedup.threshold=0.7463335123456789"
    again = load_recipe(tmp_path / "recipe.yaml", assignments)
    assert again.stage("ingest").config.paths == [str(tmp_path / "documents")]
    assert (again.stage("dedup").config.threshold, again.settings.seed) == (0.7463335123456789, 3)


def test_the_death_of_ray_is_the_error_of_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's compiled code raises SystemError if a signal handler raises inside it."""

    def ray_dies(planned: SweepPlan, sweep_run: runs.Run, cluster: Cluster, say: object) -> SweepResult:
        try:
            cluster.on_death(RayDied("Ray's GCS died", hint="look at its log"))
            time.sleep(60)
        except RayDied as error:
            raise SystemError("CoreWorker.wait returned a result with an exception set") from error
        raise AssertionError("the sweep was not interrupted")

    monkeypatch.setattr("bessemer.runner.sweep._tune", ray_dies)
    (tmp_path / "a.txt").write_text("Here is a document.")
    (tmp_path / "recipe.yaml").write_text(
        f"name: toy\nnum_workers: 0\nstorage_path: {tmp_path / 'runs'}\nstages:\n"
        "  ingest: {paths: [a.txt], split: {validation: 0}}\n  dedup:\n"
        "sweep: {metric: data/documents_out, param_space: {dedup.threshold: {grid: [0.7, 0.8]}}}\n"
    )
    loaded = load_recipe(tmp_path / "recipe.yaml", [])
    with pytest.raises(RayDied, match="Ray's GCS died"):
        run_sweep(loaded, make_display, lambda text: None, command="bessemer sweep recipe.yaml")
    assert runs.find(tmp_path / "runs", None).error() == "Ray's GCS died"
