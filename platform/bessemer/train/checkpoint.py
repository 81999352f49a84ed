"""Checkpoints: all state that a training run needs to continue exactly after its process died.

    checkpoints/step-40/   __0_0.distcp .metadata   tensors, in torch's distributed checkpoint format
                           model/                   the exported model of this step, if `export` is set
                           manifest.json            written last: step, facts, sizes and hashes of the files

The writer fills a temporary folder, flushes it, and renames it when the manifest is complete. A folder `step-N` is
therefore complete unless the disk damaged it. `newest` checks sizes, hashes and metadata, and falls back to the
previous checkpoint. The number of workers may differ between writing and reading a checkpoint.

If the parameters are sharded, every worker writes its own pieces. Otherwise worker 0 writes everything.

Saving pauses training only while the tensors are copied in memory; a thread then writes the copy. The next save waits
for this thread, so at most one copy exists. The cost is one more model and optimizer state in main memory.
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
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from bessemer import fences
from bessemer.errors import ArtifactDamaged, UsageError
from bessemer.fingerprint import file_sha256
from bessemer.storage import TEMPORARY, explained, files_under, read_json, temporary_path, write_json
from bessemer.train.checkpoint_reader import CheckpointReader
from bessemer.train.sharding import copy_to_cpu
from bessemer.train.workers import Workers

MANIFEST, MODEL = "manifest.json", "model"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    step: int
    facts: dict[str, Any]
    """The state that is not a tensor, as JSON values."""

    def shapes(self) -> dict[str, torch.Size]:
        """The shape of every tensor in the checkpoint, by name. Raises ArtifactDamaged if its metadata is damaged."""
        stored = CheckpointReader(self.path).read_metadata().state_dict_metadata
        return {name: value.size for name, value in stored.items() if isinstance(value, TensorStorageMetadata)}

    def check_plan(self, plan: Mapping[str, Any]) -> None:
        """Raises UsageError if the run that wrote the checkpoint had other settings than `plan`."""
        stored = self.facts["plan"]
        for name in sorted(stored.keys() | plan.keys()):
            if stored.get(name) != plan.get(name):
                raise UsageError(
                    f"checkpoint `{self.path}` was made with `{name}` {stored.get(name)}, "
                    f"but this run has {plan.get(name)}",
                    hint=f"set `{name}` to its old value, or remove the folder `checkpoints` to start again",
                )

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Fills `tensors` in place. Raises ArtifactDamaged if the names or shapes in the checkpoint differ."""
        stored = self.shapes()
        wanted = {name: tensor.shape for name, tensor in tensors.items()}
        if stored != wanted:
            odd = min(name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name))
            raise ArtifactDamaged(
                f"checkpoint `{self.path}` belongs to another model: `{odd}` is {_shape(stored.get(odd))} in the "
                f"checkpoint and {_shape(wanted.get(odd))} in this run",
                hint="remove the folder `checkpoints` to start again, or restore the settings of the checkpoint",
            )
        _quiet()
        load(dict(tensors), storage_reader=CheckpointReader(self.path), no_dist=True)


@dataclass
class Checkpoints:
    """The checkpoints of one run, in `folder`. Only the `keep_last` newest are kept."""

    folder: Path
    workers: Workers
    log: logging.Logger
    keep_last: int = 2
    export: Callable[[Path, Mapping[str, Tensor]], None] | None = None
    """`export(folder, tensors)` writes the model to `folder`, in the background.

    `tensors` are unsharded CPU tensors.
    """
    writing_seconds: float = 0.0
    """Seconds that the last checkpoint took to write, in the background."""
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"), repr=False)
    _pending: Future[None] | None = None
    _mesh: DeviceMesh | None = None

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Copies `tensors` and writes the copy in the background. Raises the exception of the previous save, if any."""
        self.wait()
        sharded = any(isinstance(tensor, DTensor) for tensor in tensors.values())
        if sharded and self._mesh is None:  # a separate group, because training uses the default group meanwhile
            self._mesh = DeviceMesh.from_group(dist.new_group(backend="gloo"), "cpu")
        if sharded or self.workers.rank == 0:  # without sharding, all workers hold the same tensors
            copies = {name: copy_to_cpu(tensor, self._mesh) for name, tensor in tensors.items()}
            self._pending = self._writer.submit(self._write, step, copies, dict(facts), sharded)

    def wait(self) -> None:
        """Blocks until the last save has finished. Raises the exception of that save, if any."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def newest(self) -> Checkpoint | None:
        """The newest complete checkpoint, the same on every worker. Damaged checkpoints are logged and skipped."""
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
                checkpoint.shapes()  # reads the metadata
            except ArtifactDamaged as error:
                self.log.warning("%s; trying the previous checkpoint", error.message)
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
            if self.export is not None:
                self.export(temporary / MODEL, _read_back(temporary, tensors) if sharded else tensors)
            files = {
                path.relative_to(temporary).as_posix(): {"size": path.stat().st_size, "sha256": file_sha256(path)}
                for path in files_under(temporary)
            }
            write_json(temporary / MANIFEST, {"step": step, "facts": facts, "files": files})
            self._discard(final)
            temporary.rename(final)
            for old in self._folders()[: -self.keep_last]:
                self._discard(old)
        self.writing_seconds = time.monotonic() - began

    def _discard(self, path: Path) -> None:
        """Removes a checkpoint. It is renamed first, so that an interrupted removal leaves no incomplete `step-N`."""
        if path.exists():
            doomed = temporary_path(path, "removed")
            path.rename(doomed)
            shutil.rmtree(doomed)


def newest_step(folder: Path) -> int:
    """The step of the newest checkpoint in `folder`, even if it is damaged; 0 if no checkpoint exists."""
    found = _folders(folder)
    return _step(found[-1]) if found else 0


def _folders(folder: Path) -> list[Path]:
    """The folders `step-N` of `folder`, oldest first."""
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
    """Reads the unsharded parameters from the checkpoint just written at `path`; `pieces` gives names and shapes."""
    whole = {
        name: torch.empty(piece.shape, dtype=piece.dtype)
        for name, piece in pieces.items()
        if name.startswith("parameter/")
    }
    load(dict(whole), storage_reader=CheckpointReader(path), no_dist=True)
    return whole


def _verify(path: Path) -> None:
    """Raises ArtifactDamaged if a file is missing or damaged. Skips the exported model, which is not read."""
    for name, expected in read_json(path / MANIFEST)["files"].items():
        file = path / name
        if name.startswith(f"{MODEL}/"):
            continue
        if not file.is_file():
            raise ArtifactDamaged(f"checkpoint `{path}` lacks `{name}`")
        if file.stat().st_size != expected["size"] or file_sha256(file) != expected["sha256"]:
            raise ArtifactDamaged(f"checkpoint `{path}` is damaged: `{name}` does not match its manifest")


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(list(shape))


def _quiet() -> None:
    """Silences torch's warning about saving and loading in one process, which is intended here.

    The function sets a filter because `catch_warnings` is not thread-safe.
    """
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
