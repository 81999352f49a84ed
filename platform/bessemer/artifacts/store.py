"""The store of artifacts: `artifacts/<stage>/<fingerprint>/`.

The manifest is written last. A folder without a manifest is work in progress; the next run of the stage continues it.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bessemer import fences, storage
from bessemer.artifacts import lease
from bessemer.artifacts.manifest import NAME, Manifest, check_files
from bessemer.errors import ArtifactDamaged


@dataclass(frozen=True)
class Artifact:
    """A finished artifact."""

    path: Path
    manifest: Manifest

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger"

    def parts(self, suffix: str = ".parquet") -> list[Path]:
        """The data files of the manifest with this suffix, in order. Other files in the folder are ignored."""
        return _listed(self.path, self.manifest, "data", suffix)

    def verify(self, *, hashes: bool) -> None:
        """Raises ArtifactDamaged unless all files are as the manifest says.

        With `hashes` it also rejects unlisted files in an artifact that other libraries open as a folder.
        """
        check_files(self.path, self.manifest, hashes=hashes)
        if hashes and self.manifest.kind in FOLDERS:
            listed = {self.path / file.path for file in self.manifest.files}
            for path in storage.files_under(self.data):
                if path not in listed:
                    raise ArtifactDamaged(
                        f"`{path}` is not in the manifest of its artifact",
                        hint=f"delete it if you know it, or make the artifact again: `--rerun {self.manifest.stage}`",
                    )


FOLDERS = ("model", "reward_model", "tokenizer", "site")
"""Kinds of artifacts that libraries open as a folder, in which they read any file with a certain name."""


def files_of(part: Path, suffix: str = ".parquet") -> list[Path]:
    """The files in an artifact's folder `data` or `ledger`: those in its manifest, or all if no manifest is readable.

    Used to display artifacts, including unfinished and damaged ones.
    """
    try:
        manifest = Manifest.read(part.parent)
    except ArtifactDamaged:
        manifest = None
    if manifest:
        return [path for path in _listed(part.parent, manifest, part.name, suffix) if path.exists()]
    found = storage.files_under(part) if part.is_dir() else []
    return [path for path in found if path.name.endswith(suffix)]


def _listed(folder: Path, manifest: Manifest, part: str, suffix: str) -> list[Path]:
    names = [file.path for file in manifest.files if file.path.startswith(f"{part}/") and file.path.endswith(suffix)]
    return [folder / name for name in sorted(names)]


@dataclass(frozen=True)
class Store:
    """The artifacts under one storage path."""

    root: Path

    def folder(self, stage: str, fingerprint: str) -> Path:
        return self.root / "artifacts" / stage / fingerprint

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """The artifact, or None if it was never finished. Does not check sizes and hashes."""
        folder = self.folder(stage, fingerprint)
        manifest = Manifest.read(folder)
        return Artifact(folder, manifest) if manifest else None

    def all(self) -> Iterator[Artifact]:
        """All artifacts with a readable manifest. A run that needs a damaged artifact reports it."""
        for manifest_file in sorted((self.root / "artifacts").glob(f"*/*/{NAME}")):
            try:
                manifest = Manifest.read(manifest_file.parent)
            except ArtifactDamaged:
                continue
            if manifest:
                yield Artifact(manifest_file.parent, manifest)

    def clear(self, folder: Path) -> None:
        """Deletes the content of an artifact, the manifest first; the caller holds the lease, and keeps it."""
        with storage.explained(folder), fences.guarded(folder):
            (folder / NAME).unlink(missing_ok=True)
            for path in folder.iterdir():
                if not lease.is_part(path):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remove(self, folder: Path) -> None:
        """Deletes an artifact and its lease, which the caller holds. The manifest goes first, so an interruption leaves
        no artifact."""
        self.clear(folder)
        with storage.explained(folder):
            shutil.rmtree(self.move_away(folder))

    def move_away(self, folder: Path) -> Path:
        """Renames the folder of an artifact, which needs no free space. Returns the new path."""
        grave = folder.with_name(f"{storage.TEMPORARY}{secrets.token_hex(8)}")
        with storage.explained(folder):
            return folder.rename(grave)
