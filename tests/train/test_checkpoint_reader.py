"""Checkpoints in shared storage cannot run code: metadata with anything but torch's classes for tensors is rejected."""

from __future__ import annotations

import json
import logging
import pickle
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from bessemer.errors import ArtifactDamaged
from bessemer.fingerprint import file_sha256
from bessemer.train.checkpoint import Checkpoints
from bessemer.train.checkpoint_reader import KNOWN, NAME, CheckpointReader
from bessemer.train.workers import Workers

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
TENSORS = {
    "float": torch.arange(12.0).view(3, 4),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "scalar": torch.tensor(3, dtype=torch.int64),
    "bytes": torch.tensor([1, 2], dtype=torch.uint8),
    "flags": torch.tensor([True, False]),
    "images": torch.rand(2, 3, 3, 4).to(memory_format=torch.channels_last),
    "empty": torch.empty(0, 3),
}


def written(folder: Path, values: dict[str, Any] = TENSORS) -> Path:
    save(values, storage_writer=FileSystemWriter(folder, sync_files=False), no_dist=True)
    return folder


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    found = {name: torch.zeros_like(value) for name, value in TENSORS.items()}
    load(found, storage_reader=CheckpointReader(written(tmp_path)), no_dist=True)
    assert all(torch.equal(found[name], value) for name, value in TENSORS.items())


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.reduced


def named(module: str, name: str, argument: bytes) -> bytes:
    """A handwritten pickle that calls `module.name(argument)`. Pickle resolves a dotted name inside the module."""

    def text(value: bytes) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value

    return b"\x80\x04" + text(module.encode()) + text(name.encode()) + b"\x93" + text(argument) + b"\x85R."


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_calls_a_function_is_refused(tmp_path: Path, protocol: int) -> None:
    for function, argument in ((open, "w"), (exec, ""), (eval, ""), (getattr, "x"), (torch.load, "x"), (print, "x")):
        target = tmp_path / "made"
        arguments = (str(target), argument) if function is open else (argument,)
        (tmp_path / NAME).write_bytes(pickle.dumps(Calls(function, *arguments), protocol))
        with pytest.raises(ArtifactDamaged, match="names `"):
            CheckpointReader(tmp_path).read_metadata()
        assert not target.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("torch", "hub.load"),
        ("torch", "load"),
        ("torch", "serialization.os.system"),
        ("torch.serialization", "_get_layout.__globals__"),
        ("torch.distributed.checkpoint.metadata", "Metadata.__class__"),
        ("torch.distributed.checkpoint.metadata", "BytesStorageMetadata"),
        ("torch.distributed.checkpoint.filesystem", "FileSystemReader"),
        ("pathlib", "Path.write_text"),
        ("copyreg", "_reconstructor"),
        ("builtins", "getattr"),
    ],
)
def test_a_name_outside_the_list_is_refused(tmp_path: Path, module: str, name: str) -> None:
    (tmp_path / NAME).write_bytes(named(module, name, b"touch made"))
    with pytest.raises(ArtifactDamaged, match="names `"):
        CheckpointReader(tmp_path).read_metadata()


def test_no_name_on_the_list_has_an_effect() -> None:
    """The list has classes, number types, and one function, which only looks up a name."""
    functions = {key for key, value in KNOWN.items() if not isinstance(value, type | torch.dtype)}
    assert functions == {("torch.serialization", "_get_layout")}


def changed(folder: Path, change: Callable[[Metadata], None]) -> CheckpointReader:
    file = written(folder) / NAME
    metadata = pickle.loads(file.read_bytes())
    change(metadata)
    file.write_bytes(pickle.dumps(metadata))
    return CheckpointReader(folder)


def test_objects_and_files_elsewhere_are_refused(tmp_path: Path) -> None:
    def elsewhere(metadata: Metadata) -> None:
        for place in metadata.storage_data.values():
            place.relative_path = "../secret.distcp"

    def other_object(metadata: Metadata) -> None:
        metadata.state_dict_metadata["float"] = BytesStorageMetadata()

    def other_type(metadata: Metadata) -> None:
        metadata.state_dict_metadata["float"].size = [3, 4]

    def extension(metadata: Metadata) -> None:
        for place in metadata.storage_data.values():
            place.transform_descriptors = ["zstd"]

    for number, change in enumerate((elsewhere, other_object, other_type, extension)):
        with pytest.raises(ArtifactDamaged, match="damaged"):
            changed(tmp_path / str(number), change).read_metadata()


@given(content=st.binary(max_size=200), cut=st.integers(0, 400))
@settings(max_examples=200)
def test_damaged_bytes_are_one_error(tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    whole = pickle.dumps(Metadata({}, None, {}))
    (folder / NAME).write_bytes(whole[:cut] + content)
    with suppress(ArtifactDamaged):  # any other error fails the test
        CheckpointReader(folder).read_metadata()


def test_training_continues_from_the_checkpoint_before_one_with_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The checkpoint with code is skipped even if its manifest has the right size and hash."""
    log = logging.getLogger("test")
    checkpoints = Checkpoints(tmp_path, Workers(0, 1, torch.device("cpu")), log)
    for step in (1, 2):
        checkpoints.save(step, TENSORS, {"plan": {}})
        checkpoints.wait()
    file = tmp_path / "step-2" / NAME
    file.write_bytes(pickle.dumps(Calls(open, str(tmp_path / "made"), "w")))
    manifest = json.loads((tmp_path / "step-2" / "manifest.json").read_text())
    manifest["files"][NAME] = {"size": file.stat().st_size, "sha256": file_sha256(file)}
    (tmp_path / "step-2" / "manifest.json").write_text(json.dumps(manifest))
    found = checkpoints.newest()
    assert found is not None
    assert found.step == 1
    assert "which does not belong to the metadata of tensors" in caplog.text
    assert not (tmp_path / "made").exists()
