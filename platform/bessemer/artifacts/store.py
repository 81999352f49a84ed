"""Where artifacts live: `artifacts/<stage>/<fingerprint>/`, each whole or not there.

No manifest, no artifact: a folder without one is work in progress, which the next run of the stage continues.
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
        """The data files with this suffix, in order."""
        return [path for path in storage.files_under(self.data) if path.name.endswith(suffix)]

    def verify(self, *, hashes: bool) -> None:
        """Raises ArtifactDamaged unless all files are as the manifest says."""
        check_files(self.path, self.manifest, hashes=hashes)


@dataclass(frozen=True)
class Store:
    """The artifacts under one storage path."""

    root: Path

    def folder(self, stage: str, fingerprint: str) -> Path:
        return self.root / "artifacts" / stage / fingerprint

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """The artifact, or None if it was never finished. Sizes and hashes are not looked at here."""
        folder = self.folder(stage, fingerprint)
        manifest = Manifest.read(folder)
        return Artifact(folder, manifest) if manifest else None

    def resolve(self, stage: str, prefix: str) -> list[Artifact]:
        """Finished artifacts of a stage whose fingerprint begins with `prefix`."""
        return [a for a in self.all() if a.manifest.stage == stage and a.manifest.fingerprint.startswith(prefix)]

    def all(self) -> Iterator[Artifact]:
        for manifest_file in sorted((self.root / "artifacts").glob(f"*/*/{NAME}")):
            manifest = Manifest.read(manifest_file.parent)
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
        """Deletes an artifact with its lease, which the caller holds. A half-deleted artifact is none."""
        self.clear(folder)
        grave = folder.with_name(f"{storage.TEMPORARY}{secrets.token_hex(8)}")
        with storage.explained(folder):
            folder.rename(grave)
            shutil.rmtree(grave)
