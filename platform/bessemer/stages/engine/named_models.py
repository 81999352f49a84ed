"""Finds the models that a stage reads: models of earlier stages, and models that the recipe names by path."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts.manifest import NAME as MANIFEST
from bessemer.artifacts.manifest import Manifest
from bessemer.artifacts.run_files import read_plan
from bessemer.errors import ArtifactDamaged, InputError, UsageError
from bessemer.hashes import sha256_of
from bessemer.model.folder import CONFIG, model_files
from bessemer.recipe.inputs import by_stage
from bessemer.stages.base import Inputs


def subjects(others: Mapping[str, str], inputs: Inputs) -> dict[str, Path]:
    """Returns model folders by name: first the models of `others`, then those of stages in the order of `from`."""
    found = {name: find_model(path) for name, path in others.items()}
    return found | {name: each.data for name, each in by_stage(inputs, "model").items()}


def names(others: Collection[str], inputs: Collection[str]) -> list[str]:
    """Returns the names of the models, in the order of `subjects`. `inputs` are input keys such as `model/pretrain`.

    Raises UsageError if two models have the same name.
    """
    made = list(by_stage(dict.fromkeys(inputs), "model"))
    for name in made:
        if name in others:
            raise UsageError(
                f"two models are called `{name}`: one of a stage and one of `models`",
                hint="give the model in `models` another name",
            )
    return [*others, *made]


def content(others: Mapping[str, str]) -> Any:
    """Returns the name and the file hashes of each model by path, in order. The paths do not affect the value."""
    found = []
    for name, path in others.items():
        folder = find_model(path)
        _check(folder, fresh=False)
        files = model_files(folder)
        found.append([name, dict(zip([file.name for file in files], sha256_of(files), strict=True))])
    return found


def checked_model(path: str) -> Path:
    """Like `find_model`, and also compares the files with their manifest. Raises ArtifactDamaged if they differ."""
    folder = find_model(path)
    _check(folder, fresh=True)
    return folder


def _check(folder: Path, *, fresh: bool) -> None:
    """Raises ArtifactDamaged if the model files of an artifact or a checkpoint differ from its manifest."""
    written = _written(folder)
    hint = "make it again with `bessemer run RECIPE --rerun STAGE`, or use another checkpoint"
    for path in storage.files_under(folder) if written else ():
        if path not in written:
            raise ArtifactDamaged(f"`{path}` was not written with its model", hint=f"delete it, or {hint}")
    for path in written:
        if not path.is_file():
            raise ArtifactDamaged(f"`{path}` is missing", hint=hint)
    for path, sha256 in zip(written, sha256_of(list(written), fresh=fresh), strict=True):
        if sha256 != written[path]:
            raise ArtifactDamaged(f"`{path}` does not match the SHA-256 in its manifest", hint=hint)


def _written(folder: Path) -> dict[Path, str]:
    """Returns the SHA-256 of each file of a model folder from its manifest; empty if it has no manifest."""
    if folder.name == "data" and (manifest := Manifest.read(folder.parent)):
        return {folder.parent / file.path: file.sha256 for file in manifest.files if file.path.startswith("data/")}
    if folder.name != "model" or not (folder.parent / MANIFEST).is_file():
        return {}
    try:
        files = storage.read_json(folder.parent / MANIFEST)["files"]
        return {folder.parent / name: file["sha256"] for name, file in files.items() if name.startswith("model/")}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactDamaged(
            f"`{folder.parent / MANIFEST}` cannot be read: {error}", hint="use another checkpoint"
        ) from None


def find_model(path: str) -> Path:
    """Returns the model folder for `path`.

    `path` is a Hugging Face folder, an artifact, a checkpoint, a folder of checkpoints (the newest is used), or the
    folder of a run (the last finished model stage is used). Raises InputError if `path` contains no model.
    """
    folder = Path(path)
    steps = sorted((folder / "checkpoints").glob("step-*"), key=_step, reverse=True)
    steps += sorted(folder.glob("step-*"), key=_step, reverse=True)
    candidates = [folder, folder / "data", folder / "model", *(step / "model" for step in steps), *_run_models(folder)]
    for candidate in candidates:
        if (candidate / CONFIG).is_file():
            return candidate
    raise InputError(
        f"`{path}` holds no model",
        hint="use the path of a folder with `config.json` and `model.safetensors`, of an artifact, of a checkpoint, "
        "or of a run",
    )


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix("step-")
    return int(number) if number.isdecimal() else -1


def _run_models(folder: Path) -> list[Path]:
    """Returns the finished models of a run, last stage first. The trials of a sweep share the sweep's artifacts."""
    plan = read_plan(folder)
    root = next((parent for parent in folder.absolute().parents if (parent / "artifacts").is_dir()), folder.parent)
    made = [
        root / "artifacts" / stage["kind"] / stage["fingerprint"]
        for stage in reversed(plan["stages"])
        if stage["produces"] == "model"
    ]
    return [artifact / "data" for artifact in made if (artifact / MANIFEST).is_file()]
