"""`bessemer gc`: keeps a disk budget.

Pinned are the artifacts of runs that live or can be resumed, of the newest finished run of each recipe, registered
models that an alias points to (`champion`, `candidate`, `previous`), and everything that those were made from (so that
`explain` can tell a document's whole story). Unfinished work of no such run goes
first, then the artifacts that were made longest ago.
"""

from __future__ import annotations

from pathlib import Path

from bessemer.artifacts import lease
from bessemer.artifacts.store import Store
from bessemer.runner import runs
from bessemer.tracking.mirror import aliased_models


def collect(root: Path, budget_bytes: int, *, dry_run: bool = False) -> tuple[list[tuple[Path, int]], int]:
    """Deletes what is not pinned, oldest first, until at most `budget_bytes` are left.

    Returns (folder, bytes) of what went and the bytes that stay. Raises TrackingUnreachable where registered models
    cannot be asked for.
    """
    store = Store(root)
    pinned = _pinned(root)
    sizes = {folder: _size(folder) for folder in sorted((root / "artifacts").glob("*/*")) if folder.is_dir()}
    finished = {artifact.path: artifact.manifest.created_at for artifact in store.all()}
    loose = [folder for folder in sizes if folder not in pinned and lease.holder(folder) is None]
    loose.sort(key=lambda folder: finished.get(folder, ""))
    left, removed = sum(sizes.values()), []
    for folder in loose:
        if left <= budget_bytes:
            break
        if not dry_run:
            store.remove(folder)
        removed.append((folder, sizes[folder]))
        left -= sizes[folder]
    return removed, left


def _pinned(root: Path) -> set[Path]:
    needed: set[Path] = set()
    newest: set[str] = set()
    for run in runs.all_runs(root):
        recipe = run.plan().get("recipe", "")
        finished = run.status() == "finished"
        if finished and recipe in newest:
            continue
        if finished:
            newest.add(recipe)
        needed |= {run.artifact_folder(stage["name"]) for stage in run.plan()["stages"]}
    return needed | _registered(root)


def _registered(root: Path) -> set[Path]:
    """The artifacts of the models with an alias and of all that they were made from."""
    by_fingerprint = {artifact.manifest.fingerprint: artifact for artifact in Store(root).all()}
    needed: set[Path] = set()
    wanted = aliased_models(root)
    while wanted:
        artifact = by_fingerprint.get(wanted.pop())
        if artifact and artifact.path not in needed:
            needed.add(artifact.path)
            wanted |= {source["fingerprint"] for source in artifact.manifest.inputs.values()}
    return needed


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
