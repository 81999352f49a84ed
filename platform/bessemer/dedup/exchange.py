"""Passes tables of numbers from one step to the next, on disk.

A step that groups rows by a key (a hash, the location of a document) cannot hold all of them in memory. So every writer
sorts its rows by the key and writes them as one run. A reader takes its range of keys from each run of every file, by
binary search in a memory-mapped column, and sorts these rows. This is an external merge sort in which the reader
merges. Readers can choose the number of ranges after the files are written.

Files are uncompressed Arrow IPC, so a mapped file needs no decoding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bessemer import storage
from bessemer.dedup.arrays import Keys
from bessemer.dedup.settings import DedupSettings

Columns = Mapping[str, npt.NDArray[Any]]

ROW_BITS = 32
LAST_KEY = 2**64 - 1


@dataclass(frozen=True)
class Workspace:
    """The input parts, in order, and the folder for all intermediate files."""

    folder: Path
    parts: tuple[Path, ...]
    settings: DedupSettings

    def file(self, step: str, number: int) -> Path:
        return self.folder / step / f"{number:05d}.arrow"

    def files(self, step: str) -> list[Path]:
        """The files of a finished step, in order."""
        return sorted((self.folder / step).glob("[0-9]*.arrow"), key=lambda path: int(path.stem))


def locations(part: int, rows: npt.NDArray[Any]) -> Keys:
    """Keys for the locations of documents: the number of the part in the high bits, the row in the low bits."""
    return np.uint64(part << ROW_BITS) | rows.astype(np.uint64)


def parts_of(keys: Keys) -> npt.NDArray[np.int64]:
    return (keys >> np.uint64(ROW_BITS)).astype(np.int64)


def rows_of(keys: Keys) -> npt.NDArray[np.int64]:
    return (keys & np.uint64(2**ROW_BITS - 1)).astype(np.int64)


def part_range(part: int) -> tuple[int, int]:
    """The first and the last location of a part."""
    return part << ROW_BITS, ((part + 1) << ROW_BITS) - 1


def hash_range(number: int, of: int) -> tuple[int, int]:
    """The first and the last of one of `of` equal ranges of 64-bit hashes."""
    return (number << 64) // of, ((number + 1) << 64) // of - 1


def write_batches(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Writes the batches in order; returns the number of rows."""
    rows = 0
    with storage.atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += len(batch)
    return rows


def write_runs(path: Path, schema: pa.Schema, runs: Iterable[Columns]) -> int:
    """Writes runs, each sorted by the first column of `schema`; returns the number of rows."""

    def batch(run: Columns) -> pa.RecordBatch:
        assert (run[schema.names[0]][1:] >= run[schema.names[0]][:-1]).all(), "a run ascends"
        return pa.record_batch([pa.array(run[name]) for name in schema.names], schema=schema)

    return write_batches(path, schema, map(batch, runs))


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[list[pa.RecordBatch]]:
    """The batches of a file, memory-mapped: only the pages that are accessed are read."""
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        yield [reader.get_batch(index) for index in range(reader.num_record_batches)]


def read_range(
    paths: Sequence[Path], schema: pa.Schema, first: int = 0, last: int = LAST_KEY
) -> dict[str, npt.NDArray[Any]]:
    """The rows of all files whose first column is in first..last (inclusive), copied to memory, run after run."""
    found: dict[str, list[npt.NDArray[Any]]] = {
        field.name: [np.empty(0, field.type.to_pandas_dtype())] for field in schema
    }
    for path in paths:
        with mapped(path) as batches:
            for batch in batches:
                keys = batch.column(0).to_numpy()
                begin = int(np.searchsorted(keys, np.uint64(first), side="left"))
                end = int(np.searchsorted(keys, np.uint64(last), side="right"))
                for name in schema.names if end > begin else ():
                    found[name].append(batch.column(name).to_numpy()[begin:end].copy())
    return {name: np.concatenate(arrays) for name, arrays in found.items()}
