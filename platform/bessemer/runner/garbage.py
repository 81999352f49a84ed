"""`bessemer gc`: finds the artifacts that can be deleted, and deletes them.

An artifact is *needed* by every run whose plan has it: the run's report reads it, `explain` and `show` answer from it.
A model version in MLflow's registry needs its artifact and everything that it was made from.

- By default, only artifacts that no run and no registered model needs can be deleted.
- A named run gives up the artifacts that only it needs.
- A budget lets finished runs give up theirs, the artifacts that were made longest ago first. The newest finished run of
  each recipe, unfinished runs and models with an alias (`champion`, `candidate`, `previous`) keep theirs.

Artifacts of a running run are never deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bessemer import storage
from bessemer.artifacts import lease
from bessemer.artifacts.store import Store
from bessemer.errors import UsageError
from bessemer.runner import runs
from bessemer.runner.runs import Run
from bessemer.tracking.mirror import registered_models


@dataclass(frozen=True)
class Removal:
    """An artifact that can be deleted."""

    folder: Path
    size: int
    """Bytes on the disk."""
    needed_by: tuple[str, ...]
    """The runs that lose it."""


@dataclass(frozen=True)
class Garbage:
    """The removals in their order, and the bytes of all other artifacts."""

    removals: tuple[Removal, ...]
    kept: int

    @property
    def size(self) -> int:
        return sum(removal.size for removal in self.removals)


def find_garbage(root: Path, *, budget_bytes: int | None = None, named: Sequence[str] = ()) -> Garbage:
    """The artifacts that can be deleted by the rules above; deletes nothing.

    With a budget, the first removals that bring the store below it. Raises UsageError for a named run that is running,
    TrackingUnreachable if MLflow's registry cannot be asked.
    """
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
        Removal(folder, size, tuple(users.get(folder, ())))
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
    return Garbage(tuple(removals), left)


def delete(root: Path, garbage: Garbage) -> None:
    """Deletes the removals, each manifest first. An artifact that a run has started to use in the meantime stays."""
    store = Store(root)

    def leave(owner: lease.Owner) -> None:
        raise _InUse

    for removal in garbage.removals:
        with suppress(_InUse), lease.hold(removal.folder, "gc", waiting=leave):
            store.remove(removal.folder)


class _InUse(Exception):
    """A run has begun to write the artifact."""


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
    plans = [run.plan(), *(storage.read_json(file) for file in sorted(run.folder.glob("trials/*/plan.json")))]
    return {
        run.root / "artifacts" / str(stage["kind"]) / str(stage["fingerprint"])
        for plan in plans
        for stage in (plan or {"stages": []})["stages"]
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
    """The artifacts with these fingerprints, and all that they were made from."""
    by_fingerprint = {artifact.manifest.fingerprint: artifact for artifact in Store(root).all()}
    needed: set[Path] = set()
    wanted = set(fingerprints)
    while wanted:
        artifact = by_fingerprint.get(wanted.pop())
        if artifact and artifact.path not in needed:
            needed.add(artifact.path)
            wanted |= {source["fingerprint"] for source in artifact.manifest.inputs.values()}
    return needed


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
