"""What a training run needs to go on after any death, exactly where it was.

    checkpoints/step-40/   __0_0.distcp .metadata   tensors, in torch's distributed checkpoint format
                           model/                   the model as it then was, if an `export` writes one
                           manifest.json            written last: step, facts, sizes and hashes of the files

A checkpoint is written into a temporary folder, flushed, and renamed when its manifest is complete, so a folder
`step-N` is whole unless the disk damaged it. `newest` checks sizes and hashes, and falls back to the one before.
The numbers of workers that wrote and read it need not be equal.

Where parameters are sharded every worker writes its pieces, else worker 0 writes all.

Saving stops training only for a copy of the tensors in memory; a thread writes them meanwhile. Saving again waits
for the save before it, so at most one copy is held. The cost: one more model and optimizer state in main memory.
"""

from __future__ import annotations

import logging
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from bessemer import fences
from bessemer.errors import ArtifactDamaged, UsageError
from bessemer.fingerprint import file_sha256
from bessemer.storage import TEMPORARY, explained, files_under, read_json, temporary_path, write_json
from bessemer.train.sharding import copy_to_cpu
from bessemer.train.workers import Workers

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk."""

    path: Path
    step: int
    facts: dict[str, Any]
    """What is no tensor: JSON values."""

    def shapes(self) -> dict[str, torch.Size]:
        """The shape of every tensor in it, by name."""
        stored = FileSystemReader(self.path).read_metadata().state_dict_metadata
        return {name: value.size for name, value in stored.items() if hasattr(value, "size")}

    def check_plan(self, plan: Mapping[str, Any]) -> None:
        """Raises UsageError if the run that made it had other settings than `plan`."""
        stored = self.facts["plan"]
        for name in sorted(stored.keys() | plan.keys()):
            if stored.get(name) != plan.get(name):
                raise UsageError(
                    f"checkpoint `{self.path}` has `{name}` {stored.get(name)}, and this run has {plan.get(name)}",
                    hint=f"set `{name}` to its old value, or remove the folder `checkpoints` to start again",
                )

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Fills `tensors` in place. Raises ArtifactDamaged if the checkpoint holds other names or shapes."""
        stored = self.shapes()
        wanted = {name: tensor.shape for name, tensor in tensors.items()}
        if stored != wanted:
            odd = min(name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name))
            raise ArtifactDamaged(
                f"checkpoint `{self.path}` is of another model: `{odd}` is {_shape(stored.get(odd))} there "
                f"and {_shape(wanted.get(odd))} here",
                hint="remove the folder `checkpoints` to begin again, or restore the settings it was made with",
            )
        _quiet()
        load(dict(tensors), storage_reader=FileSystemReader(self.path), no_dist=True)


@dataclass
class Checkpoints:
    """The checkpoints of one run, in `folder`; the `keep_last` newest are kept."""

    folder: Path
    workers: Workers
    log: logging.Logger
    keep_last: int = 2
    export: Callable[[Path, Mapping[str, Tensor]], None] | None = None
    """`export(folder, tensors)` writes the model in `tensors`, all whole and in main memory, while training goes on."""
    writing_seconds: float = 0.0
    """How long the last one took to be written, in the background."""
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"), repr=False)
    _pending: Future[None] | None = None
    _mesh: DeviceMesh | None = None

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Copies `tensors` and writes them in the background. Raises what the save before this one raised."""
        self.wait()
        sharded = any(isinstance(tensor, DTensor) for tensor in tensors.values())
        if sharded and self._mesh is None:  # a group of the writers' own, for the workers' is in use meanwhile
            self._mesh = DeviceMesh.from_group(dist.new_group(backend="gloo"), "cpu")
        if sharded or self.workers.rank == 0:  # else the others hold the same tensors
            copies = {name: copy_to_cpu(tensor, self._mesh) for name, tensor in tensors.items()}
            self._pending = self._writer.submit(self._write, step, copies, dict(facts), sharded)

    def wait(self) -> None:
        """Returns when nothing is left to write. Raises what the last save raised."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, the same on every worker; damaged ones are logged and passed over."""
        found = self._newest_whole() if self.workers.rank == 0 else None
        step = int(self.workers.from_first(found.step if found else -1))
        if step < 0:
            return None
        return found or _read(self.folder / f"step-{step}")

    def _newest_whole(self) -> Checkpoint | None:
        for path in reversed(self._folders()):
            try:
                checkpoint = _read(path)
                _verify(path)
            except ArtifactDamaged as error:
                self.log.warning("%s; the checkpoint before it is used", error.message)
            else:
                return checkpoint
        return None

    def _folders(self) -> list[Path]:
        return _folders(self.folder)

    def _write(self, step: int, tensors: dict[str, Tensor], facts: dict[str, Any], sharded: bool) -> None:
        began = time.monotonic()
        final = self.folder / f"step-{step}"
        temporary = temporary_path(final, "checkpoint")
        group = self._mesh.get_group() if sharded and self._mesh else None
        _quiet()
        with explained(final), fences.guarded(final):
            if self.workers.rank == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                for leftover in (*self.folder.glob(f"{TEMPORARY}*"), temporary):
                    shutil.rmtree(leftover, ignore_errors=True)
                temporary.mkdir()
            if group is not None:
                dist.barrier(group)
            writer = FileSystemWriter(temporary, sync_files=True)
            save(tensors, storage_writer=writer, process_group=group, no_dist=group is None)
            if self.workers.rank > 0:
                return
            files = {
                path.relative_to(temporary).as_posix(): {"size": path.stat().st_size, "sha256": file_sha256(path)}
                for path in files_under(temporary)
            }
            if self.export is not None:
                self.export(temporary / "model", _read_back(temporary, tensors) if sharded else tensors)
            write_json(temporary / MANIFEST, {"step": step, "facts": facts, "files": files})
            self._discard(final)
            temporary.rename(final)
            for old in self._folders()[: -self.keep_last]:
                self._discard(old)
        self.writing_seconds = time.monotonic() - began

    def _discard(self, path: Path) -> None:
        """Removes a checkpoint whole: what is left of an interrupted removal is no `step-N`."""
        if path.exists():
            doomed = temporary_path(path, "removed")
            path.rename(doomed)
            shutil.rmtree(doomed)


def newest_step(folder: Path) -> int:
    """The step of the newest checkpoint in `folder`, whole or not; 0 if there is none."""
    found = _folders(folder)
    return _step(found[-1]) if found else 0


def _folders(folder: Path) -> list[Path]:
    """The folders `step-N`, oldest first."""
    return sorted((p for p in folder.glob("step-*") if p.name.removeprefix("step-").isdecimal()), key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _read(path: Path) -> Checkpoint:
    try:
        manifest = read_json(path / MANIFEST)
        return Checkpoint(path, manifest["step"], manifest["facts"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactDamaged(f"checkpoint `{path}` has no readable manifest") from error


def _read_back(path: Path, pieces: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole parameters of a checkpoint that was just written, of which `pieces` are this worker's."""
    whole = {
        name: torch.empty(piece.shape, dtype=piece.dtype)
        for name, piece in pieces.items()
        if name.startswith("parameter/")
    }
    load(dict(whole), storage_reader=FileSystemReader(path), no_dist=True)
    return whole


def _verify(path: Path) -> None:
    for name, expected in read_json(path / MANIFEST)["files"].items():
        file = path / name
        if not file.is_file():
            raise ArtifactDamaged(f"checkpoint `{path}` lacks `{name}`")
        if file.stat().st_size != expected["size"] or file_sha256(file) != expected["sha256"]:
            raise ArtifactDamaged(f"checkpoint `{path}` is damaged: `{name}` is not as it was written")


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(list(shape))


def _quiet() -> None:
    """One process writes for all on purpose. A filter, not `catch_warnings`, which no thread may use."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
