"""Tasks that are declared in YAML files: the package's files (`tasks/*.yaml`) and the user's files.

A task of a recipe takes one of these forms. Its other settings override the declaration:

    tasks:
      piqa:                                       the declared task of this name
      arc_easy: {num_fewshot: 5, limit: 200}      the same, with changes
      arc_25: {task: arc_challenge, num_fewshot: 25}    a declared task under another name
      mine: {file: my_task.yaml}                  a user's file, in the same format as the package's files
      inline: {kind: minimal_pairs, dataset: pairs.jsonl}    declared in the recipe

A dataset's path is relative to a folder that depends on the file with the declaration: the recipe's `datasets` for the
package's files, the file's own folder for a user's file, and the recipe's folder for a recipe.
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
    """The names of the tasks that the package declares."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def reference_schema(_: dict[str, Any]) -> dict[str, Any]:
    """Returns the JSON schema of a reference to a declared task or a task file, with changed settings."""
    named = {"task": {"enum": names()}, "file": {"type": "string"}}
    changed = {"type": "object", "properties": named, "not": {"required": ["kind"]}}
    return {"anyOf": [{"type": "null"}, changed]}


def resolve_all(tasks: Any, *, datasets: str | None, place: Callable[[str], str]) -> Any:
    """Returns the full declarations of a recipe's tasks. Returns a value that is not a mapping unchanged.

    Raises ValueError with the problems of all tasks.
    """
    if not isinstance(tasks, dict):
        return tasks
    resolved, problems = {}, []
    for name, given in tasks.items():
        try:
            resolved[name] = resolve(str(name), given, datasets=datasets, place=place)
        except ValueError as error:
            problems.append(f"the task `{name}`: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return resolved


def resolve(name: str, given: Any, *, datasets: str | None, place: Callable[[str], str]) -> dict[str, Any]:
    """Returns the full declaration of a recipe's task. `place` makes a path of the recipe absolute.

    Raises ValueError if the task's settings contradict each other, or if its declaration cannot be found or read.
    """
    if not isinstance(given, Mapping | None):
        raise ValueError(f"its settings should be a mapping, not `{given}`")
    settings = dict(given or {})
    for field in PATHS:
        if settings.get(field) is not None:
            settings[field] = _placed(settings[field], place)
    if "kind" in settings:
        if taken := {"task", "file"} & set(settings):
            raise ValueError(f"`{taken.pop()}` refers to a declaration, `kind` starts a new one; set only one")
        return settings
    if "file" in settings:
        if "task" in settings:
            raise ValueError("`task` and `file` both refer to a declaration; set only one of them")
        file = settings.pop("file")
        path = Path(place(file)) if isinstance(file, str) else None
        if path is None or not path.is_file():
            raise ValueError(f"`{path or file}` is not a file")
        return _declaration(path, lambda dataset: str(path.parent / dataset), settings)
    task = str(settings.pop("task", name))
    if task not in names():
        raise ValueError(f"no declared task has the name `{task}`; {nearest(task, names())}")

    def below_datasets(dataset: str) -> str:
        if datasets is None:
            raise ValueError(
                f"the declared task `{task}` reads its data from the folder `datasets`, which is not set: set it for "
                "the stage"
            )
        return str(Path(datasets, dataset))

    return _declaration(FOLDER / f"{task}.yaml", below_datasets, settings)


def _declaration(path: Path, place: Callable[[str], str], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A file's declaration with the recipe's changes. The file's paths are made absolute."""
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
        raise ValueError(f"`{path}` does not declare a task: it should be a mapping with `kind` and its settings")
    return source.value


def _placed(dataset: Any, place: Callable[[str], str]) -> Any:
    """Makes the paths of a dataset absolute: its path, the paths of its columns, or the paths of documents."""
    if isinstance(dataset, list):
        return [place(path) if isinstance(path, str) else path for path in dataset]
    if isinstance(dataset, dict):
        return {column: place(path) if isinstance(path, str) else path for column, path in dataset.items()}
    return place(dataset) if isinstance(dataset, str) else dataset
