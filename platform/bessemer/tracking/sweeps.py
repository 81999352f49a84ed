"""A sweep in MLflow: one run, and below it one flat run a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bessemer.recipe.recipe import TrackingSettings
from bessemer.tracking.mirror import Mirror


def record_sweep(
    folder: Path, settings: TrackingSettings, result: Mapping[str, Any], say: Callable[[str], None]
) -> None:
    """Records a sweep that has ended, with its trials; the tags say which metric it searched by and the best trial.

    `result` is what `sweep.json` holds: `metric`, `mode`, and `trials` with `name` and `metric`.
    """
    sign = 1 if result["mode"] == "min" else -1
    measured = [trial for trial in result["trials"] if trial["metric"] is not None]
    tags = {"bessemer.sweep_metric": result["metric"]}
    if measured:
        best = min(measured, key=lambda trial: sign * trial["metric"])
        tags["bessemer.best_trial"] = best["name"]
    with Mirror(folder, settings, say, tags) as mirror:
        mirror.finish()
