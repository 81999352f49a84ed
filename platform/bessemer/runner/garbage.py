"""`bessemer gc`: finds the artifacts that can be deleted, and deletes them.

A run *needs* every artifact in its plan: its report, `explain` and `show` read them. A model version in MLflow's
registry needs its artifact and all artifacts that this was made from.

- By default, only artifacts that no run and no registered model needs can be deleted.
- If a run is named, the artifacts that only it needs can be deleted too.
- If a budget is set, artifacts of finished runs can be deleted too, oldest first. The newest finished run of each
  recipe, unfinished runs and models with an alias (`champion`, `candidate`, `previous`) keep their artifacts.

Artifacts of a running run are never deleted. Before each deletion, `delete` takes the lease of the artifact and checks
for runs and trials that have started since the artifacts were listed. A run that reuses an artifact writes its plan
before it checks the lease. So at least one of the two notices the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.artifacts.manifest import NAME, Manifest
from bessemer.artifacts.run_files import EVENTS, PLAN, read_plan
from bessemer.artifacts.store import Store
from bessemer.errors import StorageError, UsageError
from bessemer.runner import runs
from bessemer.runner.runs import Run
from bessemer.tracking.mirror import registered_models


@dataclass(frozen=True)
class Deletion:
    """An artifact that can be deleted."""

    folder: Path
    size: int
    """Bytes on the disk."""
    needed_by: tuple[str, ...]
    """The runs that need it."""


@dataclass(frozen=True)
class Garbage:
    """The removals in their order, and the bytes of all other artifacts."""

    removals: tuple[Deletion, ...]
    kept: int
    plans: frozenset[Path]
    """The plans of all runs and trials at that time."""

    @property
    def size(self) -> int:
        return sum(removal.size for removal in self.removals)

    def to_json(self) -> dict[str, Any]:
        """Sizes in bytes."""
        removals = [
            {"folder": str(one.folder), "bytes": one.size, "needed_by": list(one.needed_by)} for one in self.removals
        ]
        return {"removals": removals, "removed_bytes": self.size, "kept_bytes": self.kept}


def find_garbage(root: Path, *, budget_bytes: int | None = None, named: Sequence[str] = ()) -> Garbage:
    """The artifacts that can be deleted by the rules above; deletes nothing.

    With a budget, the first removals that bring the store below it. Raises UsageError for a named run that is running,
    TrackingUnreachable if MLflow's registry cannot be asked.
    """
    plans = _plans(root)
    found = list(runs.all_runs(root))
    giving = {runs.find(root, name).name for name in named}
    for run in found:
        if run.name in giving and run.status() == "running":
            raise UsageError(f"run `{run.name}` is running", hint=f"bessemer stop {run.name}")
    users = _users(found)
    if budget_bytes is not None:
        giving |= _old_runs(found)
    only_aliased = bool(giving) or budget_bytes is not None
    registered = _with_ancestors(root, registered_models(root, only_aliased=only_aliased))
    made = {artifact.path: artifact.manifest.created_at for artifact in Store(root).all()}
    sizes = {folder: _size(folder) for folder in sorted((root / "artifacts").glob("*/*")) if folder.is_dir()}
    free = [
        Deletion(folder, size, tuple(users.get(folder, ())))
        for folder, size in sizes.items()
        if folder not in registered and giving.issuperset(users.get(folder, ())) and lease.holder(folder) is None
    ]
    if named and budget_bytes is None:
        free = [removal for removal in free if removal.needed_by]
    free.sort(key=lambda removal: (bool(removal.needed_by), made.get(removal.folder, "")))
    left = sum(sizes.values())
    removals = []
    for removal in free:
        if budget_bytes is not None and left <= budget_bytes:
            break
        removals.append(removal)
        left -= removal.size
    return Garbage(tuple(removals), left, plans)


def delete(root: Path, garbage: Garbage) -> int:
    """Deletes the removals, each manifest first. Returns the bytes that were freed.

    An artifact that a run has started to use in the meantime stays.
    """
    store = Store(root)
    freed = 0

    def leave(owner: lease.Owner) -> None:
        raise _InUse

    for removal in garbage.removals:
        try:
            with suppress(_InUse), lease.hold(removal.folder, "gc", waiting=leave):
                if _still_free(root, garbage, removal):
                    store.remove(removal.folder)
                    freed += removal.size
        except StorageError as error:
            if error.__cause__ is None or not storage.no_space(error.__cause__, removal.folder):
                raise
            freed += _delete_on_full_disk(store, garbage, removal)
    return freed


def _delete_on_full_disk(store: Store, garbage: Garbage, removal: Deletion) -> int:
    """Deletes an artifact without its lease, which a full disk cannot store. Returns the bytes that were freed.

    The folder is renamed first, with the lease in it. A run that looks for the artifact then makes it again. The folder
    returns if a run has started to write or to need it before that. A run that reads it in the meantime fails.
    """
    if lease.holder(removal.folder) or not _still_free(store.root, garbage, removal):
        return 0
    moved = store.move_away(removal.folder)
    if lease.holder(moved) or not _still_free(store.root, garbage, removal):
        with suppress(OSError):  # a run has begun to make it again
            moved.rename(removal.folder)
            return 0
    (moved / NAME).unlink(missing_ok=True)
    shutil.rmtree(moved)
    return removal.size


class _InUse(Exception):
    """A run has started to write the artifact."""


def _still_free(root: Path, garbage: Garbage, removal: Deletion) -> bool:
    """Whether no run or trial began to need the artifact since the removals were listed."""
    started = {path.parent for path in _plans(root) - garbage.plans}
    if any(removal.folder in _planned(root, folder) for folder in started):
        return False
    return all(lease.holder(root / name) is None for name in removal.needed_by)


def _plans(root: Path) -> frozenset[Path]:
    """The files that hold plans: of runs, of the stages that trials share, and of trials."""
    patterns = (f"*/{PLAN}", f"*/shared/{PLAN}", f"*/trials/*/{PLAN}")
    return frozenset(path for pattern in patterns for path in root.glob(pattern))


def own_sizes(root: Path) -> dict[str, int]:
    """For each finished run, the bytes of the artifacts that only it needs."""
    found = list(runs.all_runs(root))
    users = _users(found)
    sizes = {run.name: 0 for run in found if run.status() == "finished"}
    for folder, names in users.items():
        if len(names) == 1 and names[0] in sizes:
            sizes[names[0]] += _size(folder)
    return sizes


def _users(found: Sequence[Run]) -> dict[Path, list[str]]:
    """The names of the runs that need each artifact."""
    users: dict[Path, list[str]] = {}
    for run in found:
        for folder in _needs(run):
            users.setdefault(folder, []).append(run.name)
    return users


def _needs(run: Run) -> set[Path]:
    """The artifact folders in the plan of a run, and in those of the trials if it is a sweep."""
    trials = {path.parent for name in (EVENTS, PLAN) for path in run.folder.glob(f"trials/*/{name}")}
    return {needed for folder in (run.folder, *trials) for needed in _planned(run.root, folder)}


def _planned(root: Path, folder: Path) -> set[Path]:
    """The artifact folders in the plan of one run or trial."""
    return {
        root / "artifacts" / str(stage["kind"]) / str(stage["fingerprint"]) for stage in read_plan(folder)["stages"]
    }


def _old_runs(found: Collection[Run]) -> set[str]:
    """The finished runs, without the newest one of each recipe. `found` has the newest first."""
    newest: set[str] = set()
    old: set[str] = set()
    for run in found:
        recipe = run.plan().get("recipe", "")
        if run.status() == "finished":
            (old if recipe in newest else newest).add(run.name if recipe in newest else recipe)
    return old


def _with_ancestors(root: Path, fingerprints: set[str]) -> set[Path]:
    """The artifacts with these fingerprints, and all that they were made from.

    Raises ArtifactDamaged if the manifest of one of them does not list its inputs.
    """
    by_fingerprint = {folder.name: folder for folder in (root / "artifacts").glob("*/*")}
    needed: set[Path] = set()
    wanted = set(fingerprints)
    while wanted:
        folder = by_fingerprint.get(wanted.pop())
        if folder and folder not in needed:
            needed.add(folder)
            manifest = Manifest.read(folder)
            wanted |= {source["fingerprint"] for source in manifest.inputs.values()} if manifest else set()
    return needed


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
