"""Reads checkpoints of torch's distributed format without running code that the files contain.

Torch unpickles the file `.metadata`, and a pickle may call any function. This reader resolves only the classes that
torch writes there for tensors, then checks the types of the values. The tensors themselves are read by `torch.load`
with `weights_only`. Torch would unpickle other objects without restrictions, so this reader rejects them.

The class names are those of torch 2.13. A test writes a checkpoint and reads it back, to notice a change.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    _MEM_FORMAT_ENCODING,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.serialization import _get_layout

from bessemer.errors import ArtifactDamaged

NAME = ".metadata"
_METADATA_CLASSES: tuple[type, ...] = (
    _MEM_FORMAT_ENCODING, ChunkStorageMetadata, Metadata, MetadataIndex, StorageMeta, TensorProperties,
    TensorStorageMetadata,
)  # fmt: skip
KNOWN: dict[tuple[str, str], Any] = {
    **{(kind.__module__, kind.__name__): kind for kind in _METADATA_CLASSES},
    (_StorageInfo.__module__, "_StorageInfo"): _StorageInfo,
    ("torch", "Size"): torch.Size,
    **{("torch", name): value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
    ("torch.serialization", "_get_layout"): _get_layout,  # looks a name up in a table
    ("pathlib", "PosixPath"): PurePosixPath,
}
"""The only classes and functions that the metadata may reference."""
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
    RecursionError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""The errors that damaged bytes can cause."""


class CheckpointReader(FileSystemReader):
    """A `FileSystemReader` that raises ArtifactDamaged for metadata that is damaged or names other classes."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        file = Path(self.path) / NAME
        try:
            metadata: Metadata = _Unpickler(io.BytesIO(file.read_bytes())).load()
            _check(metadata)
        except OSError as error:
            raise ArtifactDamaged(f"`{file}` cannot be read: {error.strerror}") from None
        except _UNPICKLING_ERRORS as error:
            raise ArtifactDamaged(f"`{file}` is damaged: {error}") from None
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(
                f"it names `{module}.{name}`, which does not belong to the metadata of tensors"
            )
        return KNOWN[module, name]


def _check(metadata: Any) -> None:
    """Raises ValueError if a value has the wrong type, or if a file name leads out of the checkpoint's folder."""
    if type(metadata) is not Metadata or not isinstance(metadata.storage_meta, StorageMeta | None):
        raise ValueError("it is not metadata")
    for name, stored in metadata.state_dict_metadata.items():
        if type(name) is not str or type(stored) is not TensorStorageMetadata or type(stored.size) is not torch.Size:
            raise ValueError(f"`{name}` is not a tensor")
    for index, place in metadata.storage_data.items():
        if type(index) is not MetadataIndex or type(place) is not _StorageInfo:
            raise ValueError("it does not name the places of tensors")
        if type(place.relative_path) is not str or PurePosixPath(place.relative_path).name != place.relative_path:
            raise ValueError(f"`{place.relative_path}` is not a file of the checkpoint")
        if place.transform_descriptors:
            raise ValueError(f"`{place.relative_path}` is transformed by an extension")
