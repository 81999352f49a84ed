"""Finds the model that a person means."""

from __future__ import annotations

from pathlib import Path

from bessemer.errors import UsageError
from bessemer.runner import runs


def find_model(root: Path, name: str) -> Path:
    """The Hugging Face folder behind a folder's path, a run's name, or `@last` (the newest run with a model)."""
    folder = Path(name).expanduser()
    for candidate in (folder, folder / "data"):
        if (candidate / "config.json").exists():
            return candidate
    if folder.exists():
        raise UsageError(f"`{folder}` holds no model", hint="name a folder with `config.json` and `model.safetensors`")
    candidates = list(runs.all_runs(root)) if name == "@last" else [runs.find(root, name)]
    for run in candidates:
        for stage in reversed(run.plan()["stages"]):
            data = run.artifact_folder(stage["name"]) / "data"
            if stage["produces"] == "model" and (data / "config.json").exists():
                return data
    raise UsageError(
        f"`{name}` has no finished model", hint="`bessemer runs` lists the runs, `bessemer status RUN` one"
    )
