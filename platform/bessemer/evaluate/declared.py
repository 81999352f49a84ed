"""Tasks that are declared in files: those of the package (`tasks/*.yaml`) and a user's own.

A recipe's task is one of three things, and further settings change what it takes:

    tasks:
      piqa:                                       the declared task of this name
      arc_easy: {num_fewshot: 5, limit: 200}      the same, with changes
      arc_25: {task: arc_challenge, num_fewshot: 25}    a declared task under another name
      mine: {file: my_task.yaml}                  a file of one's own, which is written like those of the package
      inline: {kind: minimal_pairs, dataset: pairs.jsonl}    declared on the spot

Where a dataset's path leads depends on who wrote it: the package's paths start from the recipe's `datasets`, a file's
from its own folder, a recipe's from the recipe's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bessemer.recipe import yaml
from bessemer.recipe.problems import nearest

FOLDER = Path(__file__).parent / "tasks"
PATHS = ("dataset", "fewshot_dataset", "documents")


def names() -> list[str]:
    """The declared tasks of the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def resolve(name: str, given: Any, *, datasets: str | None, place: Callable[[str], str]) -> dict[str, Any]:
    """The whole declaration of a recipe's task. `place` makes a recipe's path absolute. Raises ValueError."""
    if not isinstance(given, Mapping | None):
        raise ValueError(f"its settings should be a mapping, and not `{given}`")
    settings = dict(given or {})
    for field in PATHS:
        if settings.get(field) is not None:
            settings[field] = _placed(settings[field], place)
    if "kind" in settings:
        if taken := {"task", "file"} & set(settings):
            raise ValueError(f"`{taken.pop()}` takes a declaration, and `kind` begins one; choose one of the two")
        return settings
    if "file" in settings:
        if "task" in settings:
            raise ValueError("`task` and `file` both take a declaration; choose one of the two")
        file = settings.pop("file")
        path = Path(place(file)) if isinstance(file, str) else None
        if path is None or not path.is_file():
            raise ValueError(f"`{path or file}` is not a file")
        return _declaration(path, lambda dataset: str(path.parent / dataset), settings)
    task = str(settings.pop("task", name))
    if task not in names():
        raise ValueError(f"there is no declared task `{task}`; {nearest(task, names())}")

    def below_datasets(dataset: str) -> str:
        if datasets is None:
            raise ValueError(
                f"the declared task `{task}` finds its data in the folder `datasets`: set it for the stage"
            )
        return str(Path(datasets, dataset))

    return _declaration(FOLDER / f"{task}.yaml", below_datasets, settings)


def _declaration(path: Path, place: Callable[[str], str], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A file's declaration with a recipe's changes; the paths of the file made absolute."""
    found = _read(path)
    placed = {field: _placed(found[field], place) for field in PATHS if field in found and field not in changes}
    if isinstance(rewards := found.get("rewards"), list):
        placed["rewards"] = [
            reward | {"file": place(reward["file"])} if isinstance(reward, dict) and "file" in reward else reward
            for reward in rewards
        ]
    return {**found, **placed, **changes}


def _read(path: Path) -> Mapping[str, Any]:
    source = yaml.parse(path.read_text(encoding="utf-8"), str(path))
    if source.problems:
        raise ValueError("; ".join(str(problem) for problem in source.problems))
    if not isinstance(source.value, dict) or "kind" not in source.value:
        raise ValueError(f"`{path}` declares no task: a mapping with `kind`, `dataset` and what the kind has")
    return source.value


def _placed(dataset: Any, place: Callable[[str], str]) -> Any:
    """The path of a dataset, those of its columns, or those of documents."""
    if isinstance(dataset, list):
        return [place(path) if isinstance(path, str) else path for path in dataset]
    if isinstance(dataset, dict):
        return {column: place(path) if isinstance(path, str) else path for column, path in dataset.items()}
    return place(dataset) if isinstance(dataset, str) else dataset
