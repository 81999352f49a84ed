"""Access to the files of a token store, in a local folder or under the URL of an object store.

Shards in a local folder are memory-mapped. Shards under a URL (`s3://bucket/path`, `gs://...`, `abfs://...`, read with
`pyarrow.fs` and credentials from the environment) are read by ranges: a window of tokens is one request for a few
kilobytes, and `READERS` requests run in parallel. A worker therefore needs no disk space for the corpus and starts
without a download.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bessemer import storage
from bessemer.artifacts.documents import read_parquet
from bessemer.errors import InputError, StorageError

READERS = 32
"""Number of ranges read in parallel, because a request spends far more time waiting than transferring."""
ATTEMPTS = 5
"""Attempts per request before it fails, with waits of 0.1 s, 0.2 s, 0.4 s, ... between them."""

Tokens = npt.NDArray[np.unsignedinteger]
_Answer = TypeVar("_Answer")


class Sliceable(Protocol):
    """The tokens of a shard, read as `shard[first:last]`."""

    def __getitem__(self, span: slice, /) -> Tokens: ...


class Folder(Protocol):
    """Access to the files of a token store. Names are relative to the store's folder or URL."""

    def json(self, name: str) -> Any:
        """The value in a JSON file; None if the file does not exist."""

    def array(self, name: str) -> npt.NDArray[Any]:
        """The array in an `.npy` file."""

    def table(self, name: str) -> pa.Table:
        """The table in a Parquet file."""

    def size(self, name: str) -> int | None:
        """The size of a file in bytes; None if the file does not exist."""

    def tokens(self, name: str, dtype: np.dtype[Any]) -> Sliceable:
        """Opens a shard without reading it."""

    def map(self, read: Callable[[tuple[int, int]], Tokens], spans: Sequence[tuple[int, int]]) -> list[Tokens]:
        """Returns `read(span)` for each span. Remote reads run in parallel."""


def open_folder(place: Path | str) -> Folder:
    """Opens a path or a URL. Raises InputError for a URL that cannot be read."""
    return _Remote(place) if isinstance(place, str) and "://" in place else _Local(Path(place))


class _Local:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def json(self, name: str) -> Any:
        return storage.read_json(self.path / name)

    def array(self, name: str) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = np.load(self.path / name)
        return found

    def table(self, name: str) -> pa.Table:
        return read_parquet(self.path / name)

    def size(self, name: str) -> int | None:
        path = self.path / name
        return path.stat().st_size if path.exists() else None

    def tokens(self, name: str, dtype: np.dtype[Any]) -> Sliceable:
        return np.memmap(self.path / name, dtype=dtype, mode="r")

    def map(self, read: Callable[[tuple[int, int]], Tokens], spans: Sequence[tuple[int, int]]) -> list[Tokens]:
        return [read(span) for span in spans]


class _Remote:
    def __init__(self, url: str) -> None:
        from pyarrow import fs

        self.url = url
        try:
            self._files, self._root = fs.FileSystem.from_uri(url)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"`{url}` cannot be read: {str(error).splitlines()[0]}",
                hint="set the URL of a folder in object storage: `s3://bucket/path`, `gs://...` or `abfs://...`",
            ) from None
        self._pool = ThreadPoolExecutor(READERS, "range")

    def __str__(self) -> str:
        return self.url.partition("?")[0]

    def json(self, name: str) -> Any:
        return None if self.size(name) is None else json.loads(self._whole(name))

    def array(self, name: str) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = np.load(io.BytesIO(self._whole(name)))
        return found

    def table(self, name: str) -> pa.Table:
        return pq.read_table(io.BytesIO(self._whole(name)), use_threads=False)

    def size(self, name: str) -> int | None:
        found = self._tried(lambda: self._files.get_file_info(self._path(name)))
        return int(found.size) if found.is_file else None

    def tokens(self, name: str, dtype: np.dtype[Any]) -> Sliceable:
        file = self._tried(lambda: self._files.open_input_file(self._path(name)))
        return _Ranges(lambda count, start: self._tried(lambda: file.read_at(count, start)), dtype)

    def map(self, read: Callable[[tuple[int, int]], Tokens], spans: Sequence[tuple[int, int]]) -> list[Tokens]:
        return list(self._pool.map(read, spans))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _whole(self, name: str) -> bytes:
        def read() -> bytes:
            with self._files.open_input_stream(self._path(name)) as stream:
                return bytes(stream.read())

        return self._tried(read)

    def _tried(self, request: Callable[[], _Answer]) -> _Answer:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return request()
            except OSError as error:
                if attempt == ATTEMPTS:
                    raise StorageError(
                        f"`{self}` does not answer: {str(error).splitlines()[0]}",
                        hint="check the address and the credentials, then run the same command again",
                    ) from error
                time.sleep(0.05 * 2**attempt)
        raise AssertionError


class _Ranges:
    """A remote shard. Each slice is one request."""

    def __init__(self, read_at: Callable[[int, int], bytes], dtype: np.dtype[Any]) -> None:
        self._read_at, self._dtype = read_at, dtype

    def __getitem__(self, span: slice, /) -> Tokens:
        size = self._dtype.itemsize
        content = self._read_at((span.stop - span.start) * size, span.start * size)
        found: Tokens = np.frombuffer(content, dtype=self._dtype)
        if len(found) != span.stop - span.start:
            raise StorageError(
                f"a token shard ended early: {len(found)} of {span.stop - span.start} tokens could be read",
                hint="copy the token store to the object storage again",
            )
        return found
