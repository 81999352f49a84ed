"""The manifest describes an artifact, its origin and its files, so that damage can be detected. It is written last."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.artifacts.ledger import Counts
from bessemer.errors import ArtifactDamaged
from bessemer.fingerprint import file_sha256

NAME = "manifest.json"
SCHEMA_VERSION = 1
HASHED = ("data", "ledger")
"""Folders whose files are the artifact. Other files, such as metrics and checkpoints, may be pruned."""


@dataclass(frozen=True)
class File:
    """One file of an artifact: path relative to the artifact's folder, size in bytes, SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    kind: str
    """The kind of artifact: `documents`, `tokens`, `model`, ..."""
    stage: str
    """The kind of stage that made it."""
    stage_version: int
    fingerprint: str
    config: dict[str, Any]
    """The settings as the recipe gave them, defaults included."""
    resolved: dict[str, Any]
    """The values that were chosen for settings left at `auto`."""
    inputs: dict[str, dict[str, str]]
    """For each consumed kind: the stage, the fingerprint and the digest of the artifact that was read."""
    files: list[File]
    digest: str
    """One hash over all files: equal digests are equal bytes."""
    counts: Counts | None
    metrics: dict[str, float]
    versions: dict[str, str]
    seconds: float
    """Wall-clock time over all attempts."""
    attempts: int
    created_at: str
    schema_version: int = SCHEMA_VERSION
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def write(self, folder: Path) -> None:
        storage.write_json(folder / NAME, asdict(self))

    @staticmethod
    def read(folder: Path) -> Manifest | None:
        """The manifest in `folder`, or None if the file does not exist. Raises ArtifactDamaged if it cannot be read."""
        try:
            raw = storage.read_json(folder / NAME)
            if raw is None:
                return None
            raw["files"] = [File(**file) for file in raw["files"]]
            raw["counts"] = Counts(**raw["counts"]) if raw["counts"] else None
            raw.pop("num_workers", None)  # an unused field of earlier versions
            return Manifest(**raw)
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactDamaged(
                f"`{folder / NAME}` cannot be read: {error}", hint=_repair_hint(folder.parent.name)
            ) from error


def describe_files(folder: Path) -> tuple[list[File], str]:
    """Size and SHA-256 of every file of an artifact, and one digest over all of them."""
    paths = [path for part in HASHED if (folder / part).is_dir() for path in storage.files_under(folder / part)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        hashes = list(pool.map(file_sha256, paths))
    files = [
        File(path.relative_to(folder).as_posix(), path.stat().st_size, sha256)
        for path, sha256 in zip(paths, hashes, strict=True)
    ]
    files.sort(key=lambda file: file.path)
    digest = hashlib.sha256("\n".join(f"{f.path} {f.size} {f.sha256}" for f in files).encode()).hexdigest()
    return files, digest[:32]


def check_files(folder: Path, manifest: Manifest, *, hashes: bool) -> None:
    """Raises ArtifactDamaged unless every file is there with its size (and, if asked, its hash)."""
    for file in manifest.files:
        path = folder / file.path
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            raise ArtifactDamaged(f"`{path}` is missing", hint=_repair_hint(manifest.stage)) from None
        if size != file.size:
            raise ArtifactDamaged(
                f"`{path}` has {size} bytes, but its manifest says {file.size}", hint=_repair_hint(manifest.stage)
            )
    if hashes:
        with ThreadPoolExecutor(max_workers=4) as pool:
            found = pool.map(lambda file: file_sha256(folder / file.path), manifest.files)
            for file, sha256 in zip(manifest.files, found, strict=True):
                if sha256 != file.sha256:
                    raise ArtifactDamaged(
                        f"`{folder / file.path}` has other bytes than its manifest says",
                        hint=_repair_hint(manifest.stage),
                    )


def _repair_hint(stage: str) -> str:
    return f"make it again with `bessemer run RECIPE --rerun {stage}`"
