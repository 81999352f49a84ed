"""The plan and the events in a run's folder, readable after damage.

A crash, a full disk or a careless copy can leave `plan.json` truncated and lines of `events.jsonl` torn. A run must not
make the commands on all other runs fail, and `gc` must know which artifacts the run needs. So `read_events` skips
unreadable events, and `read_plan` rebuilds an unreadable plan from the events, which name the artifact of each stage
that started.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts.manifest import Manifest
from bessemer.errors import ArtifactDamaged

EVENTS, PLAN = "events.jsonl", "plan.json"


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of a run in order. Each has a `time` (ISO 8601) and an `event`; the events of a stage have a
    `stage`."""
    return [event for event in storage.read_lines(folder / EVENTS) if _is_event(event)]


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan of a run as in `RunPlan.to_json`. A damaged plan is rebuilt from the events, without settings."""
    plan = _stored_plan(folder)
    return plan if plan is not None else _plan_of_events(folder)


def damaged_files(folder: Path) -> list[str]:
    """The names of a run's files that cannot be read."""
    found = [PLAN] if _stored_plan(folder) is None else []
    for name in ("tracking.json", "trial.json", "sweep.json"):
        try:
            value = storage.read_json(folder / name)
        except ValueError:
            value = ""
        if value is not None and not isinstance(value, dict):
            found.append(name)
    return found


def _stored_plan(folder: Path) -> dict[str, Any] | None:
    """The plan in the run's folder; a plan without stages if the file does not exist; None if it is damaged."""
    try:
        plan = storage.read_json(folder / PLAN)
    except (ValueError, OSError):
        return None
    if plan is None and not (folder / PLAN).exists():
        return {"recipe": "", "stages": []}
    stages = plan.get("stages") if isinstance(plan, dict) else None
    whole = isinstance(stages, list) and all(
        isinstance(stage, dict) and isinstance(stage.get("kind"), str) and isinstance(stage.get("fingerprint", ""), str)
        for stage in stages
    )
    return plan if whole else None


def _plan_of_events(folder: Path) -> dict[str, Any]:
    recipe = folder.name.rsplit("-", 3)[0]
    root = next((parent for parent in folder.absolute().parents if (parent / "artifacts").is_dir()), folder.parent)
    stages: dict[str, dict[str, Any]] = {}
    for event in read_events(folder):
        recipe = str(event.get("recipe", recipe))
        kind, fingerprint = event.get("kind"), event.get("fingerprint")
        if "stage" in event and isinstance(kind, str) and isinstance(fingerprint, str):
            stages[event["stage"]] = {
                "name": event["stage"],
                "kind": kind,
                "fingerprint": fingerprint,
                "produces": _produces(root / "artifacts" / kind / fingerprint),
                "inputs": {},
                "config": {},
            }
    return {"recipe": recipe, "fingerprint": "", "stages": list(stages.values())}


def _produces(folder: Path) -> str:
    try:
        manifest = Manifest.read(folder)
    except ArtifactDamaged:
        return ""
    return manifest.kind if manifest else ""


def _is_event(event: dict[str, Any]) -> bool:
    try:
        datetime.fromisoformat(event["time"])
        return isinstance(event["event"], str) and isinstance(event.get("stage", ""), str) and _has_stage(event)
    except (KeyError, TypeError, ValueError):
        return False


def _has_stage(event: dict[str, Any]) -> bool:
    return "stage" in event or not event["event"].startswith("stage_")
