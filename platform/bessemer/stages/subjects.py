"""The models that a stage is given: those of stages above, and others by path."""

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
from bessemer.stages.base import Inputs

PREFIX = "model/"


def subjects(others: Mapping[str, str], inputs: Inputs) -> dict[str, Path]:
    """The folder of each model by its name: the others, then those of the stages in the order of `from`."""
    found = {name: find_model(path) for name, path in others.items()}
    return found | {kind.removeprefix(PREFIX): each.data for kind, each in inputs.items() if kind.startswith(PREFIX)}


def names(others: Collection[str], inputs: Collection[str]) -> list[str]:
    """The names of the models, of `inputs` by their kinds. Raises UsageError where two have one name."""
    made = [kind.removeprefix(PREFIX) for kind in inputs if kind.startswith(PREFIX)]
    for name in made:
        if name in others:
            raise UsageError(
                f"two models are called `{name}`: a stage's and one of `models`", hint="give the second another name"
            )
    return [*others, *made]


def content(others: Mapping[str, str]) -> Any:
    """A JSON value that stands for the models by path, in their order and wherever they lie."""
    found = []
    for name, path in others.items():
        folder = find_model(path)
        _check(folder, fresh=False)
        files = model_files(folder)
        found.append([name, dict(zip([file.name for file in files], sha256_of(files), strict=True))])
    return found


def checked_model(path: str) -> Path:
    """As `find_model`; reads the model. Raises ArtifactDamaged if its files are not those that training wrote."""
    folder = find_model(path)
    _check(folder, fresh=True)
    return folder


def _check(folder: Path, *, fresh: bool) -> None:
    """Raises ArtifactDamaged if an artifact's or a checkpoint's model has other files than its manifest lists."""
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
            raise ArtifactDamaged(f"`{path}` has other bytes than its manifest says", hint=hint)


def _written(folder: Path) -> dict[Path, str]:
    """The SHA-256 of each file that was written to a model folder; empty if no manifest lists them."""
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
    """The model folder that `path` leads to.

    `path` is a Hugging Face folder, an artifact, one checkpoint, a folder of checkpoints (the newest counts), or the
    folder of a run (its last model stage that has finished counts). Raises InputError if none of them holds a model.
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
        hint="name a folder with `config.json` and `model.safetensors`, an artifact, a checkpoint, "
        "or the folder of a run",
    )


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix("step-")
    return int(number) if number.isdecimal() else -1


def _run_models(folder: Path) -> list[Path]:
    """The finished models of a run, the newest stage first. The trials of a sweep share the artifacts of the sweep."""
    plan = read_plan(folder)
    root = next((parent for parent in folder.absolute().parents if (parent / "artifacts").is_dir()), folder.parent)
    made = [
        root / "artifacts" / stage["kind"] / stage["fingerprint"]
        for stage in reversed(plan["stages"])
        if stage["produces"] == "model"
    ]
    return [artifact / "data" for artifact in made if (artifact / MANIFEST).is_file()]
