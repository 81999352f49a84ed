"""Finds the model that a user names on the command line."""

from __future__ import annotations

from pathlib import Path

from bessemer.errors import InputError, UsageError
from bessemer.runner import runs
from bessemer.stages.engine import named_models


def find_model(root: Path, name: str) -> Path:
    """The model folder for a path, a run's name, or `@last` (the newest run with a finished model).

    `stages.engine.named_models.find_model` resolves paths, so a command accepts the same folders as a recipe. A path
    wins over a run of the same name. Raises UsageError if the model does not exist, ArtifactDamaged if its files differ
    from those that its stage or its checkpoint wrote.
    """
    folder = Path(name).expanduser()
    if folder.exists():
        try:
            return named_models.checked_model(str(folder))
        except InputError as error:
            raise UsageError(error.message, hint=error.hint) from None
    for run in runs.all_runs(root) if name == "@last" else [runs.find(root, name)]:
        try:
            return named_models.checked_model(str(run.folder))
        except InputError:
            continue
    raise UsageError(
        f"`{name}` has no finished model", hint="`bessemer runs` lists the runs, `bessemer status RUN` one"
    )
