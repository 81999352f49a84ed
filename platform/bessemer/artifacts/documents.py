"""The documents table: one row per document, with the same columns from the first reader to the tokenizer.

| column | meaning |
|---|---|
| `id` | 32 hex digits of the origin (`fingerprint.origin_id`); never changes |
| `text` | the text as it is now |
| `content_hash` | XXH3-128 of `text` |
| `url` | the origin: a URL, or `file:relative/path#record` |
| `source` | the name of the collection: a host, a folder, or the recipe's `source` |
| `license` | SPDX identifier if known, else null |
| `language` | ISO 639-1 code if known, else null |
| `split` | `train`, `tune`, `validation` or `test` |
| `fetched_at` | when it was fetched or last modified, UTC, else null |
| `metadata` | a JSON object: title, author, date, ... |

Parquet files are written with fixed settings, so equal tables give equal bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from bessemer import storage
from bessemer.fingerprint import unit_interval

Split = Literal["train", "tune", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "tune", "validation", "test")

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("license", pa.string()),
        pa.field("language", pa.string()),
        pa.field("split", pa.string(), nullable=False),
        pa.field("fetched_at", pa.timestamp("ms", tz="UTC")),
        pa.field("metadata", pa.string(), nullable=False),
    ]
)


SPLIT_ORDER = ("test", "validation", "tune")
"""Splits that take their shares from the start of the interval [0, 1); `train` is the rest."""


def assign_split(group: str, fractions: dict[str, float]) -> str:
    """The split of a page group: a pure function of its name, so a group is never in two splits.

    `fractions` gives the share of `tune`, `validation` and `test`; the rest is `train`.
    """
    point = unit_interval("split", group)
    for name in SPLIT_ORDER:
        point -= fractions.get(name, 0.0)
        if point < 0:
            return name
    return "train"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes `table` under a temporary name and renames it; equal tables give equal bytes."""
    with storage.atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=8192, store_schema=True)


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads one Parquet file, memory-mapped, in one thread (the worker pool provides the parallelism)."""
    return pq.read_table(path, columns=columns, use_threads=False, memory_map=True)
