"""`execute` runs a toy recipe, without any data, Ray or MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.runner.toy import TABLE, Silent

from bessemer import stages
from bessemer.artifacts.store import Store
from bessemer.runner import run as runner
from bessemer.runner.locations import storage_root
from bessemer.runner.plan import load_recipe, make_plan


class NoMirror:
    """Replaces MLflow."""

    def __init__(self, *arguments: Any) -> None: ...

    def __enter__(self) -> NoMirror:
        return self

    def __exit__(self, *error: object) -> None: ...

    def finish(self) -> None: ...

    def leave(self) -> None: ...


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`execute("write.letter=b", rerun=[...])` runs the recipe and returns (run, display)."""
    monkeypatch.setattr(stages, "load", TABLE.__getitem__)
    monkeypatch.setattr(stages, "kinds", lambda: list(TABLE))
    monkeypatch.setattr(runner, "Mirror", NoMirror)
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(f"name: toy\nstorage_path: {tmp_path / 'runs'}\nstages:\n  write:\n  double:\n  join:\n")

    def make(*assignments: str, **choices: Any) -> Any:
        recipe = load_recipe(recipe_file, assignments)
        return recipe, make_plan(recipe, Store(storage_root(recipe)), **choices)

    def execute(*assignments: str, until: str | None = None, rerun: tuple[str, ...] = (), **choices: Any) -> Any:
        recipe, planned = make(*assignments, until=until, rerun=rerun)
        planned = choices.pop("plan", planned)
        display = Silent([stage.name for stage in planned.stages])
        return runner.run_recipe(recipe, planned, display, command="bessemer run", rerun=rerun, **choices), display

    execute.plan = make  # type: ignore[attr-defined]
    execute.root = tmp_path / "runs"  # type: ignore[attr-defined]
    return execute
