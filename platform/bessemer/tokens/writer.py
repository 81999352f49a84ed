"""Writes token shards. A unit of documents becomes one shard per split, and equal input gives equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bessemer import storage
from bessemer.artifacts.documents import SPLITS, write_parquet
from bessemer.tokens.store import INDEX_SCHEMA, META, START, TOKEN_BYTES, shard_name, token_dtype


class Shard(NamedTuple):
    """The size of a shard, as listed in `meta.json`."""

    split: str
    number: int
    num_tokens: int
    num_documents: int
    num_bytes: int


class Tokenized(NamedTuple):
    """Tokenized documents of one split: the tokens in the stored type, and one index row per document.

    The rows follow `INDEX_SCHEMA`; their `start` counts from the beginning of `tokens`.
    """

    tokens: np.ndarray
    rows: pa.Table


def index_rows(ids: Any, urls: Any, sources: Any, lengths: np.ndarray, num_bytes: np.ndarray) -> pa.Table:
    """The index rows of consecutive documents. `lengths` include the end-of-text tokens."""
    columns = [c if isinstance(c, pa.Array | pa.ChunkedArray) else pa.array(c) for c in (ids, urls, sources)]
    columns += [pa.array(c, pa.int64()) for c in (np.cumsum(lengths) - lengths, lengths, num_bytes)]
    return pa.table(columns, schema=INDEX_SCHEMA)


def write_shard(folder: Path, split: str, number: int, parts: Sequence[Tokenized]) -> Shard:
    """Concatenates the parts and writes them as one shard. The index is written first, so every shard has one."""
    tokens = np.concatenate([part.tokens for part in parts])
    rows = pa.concat_tables([part.rows for part in parts]).combine_chunks()
    lengths = rows["length"].to_numpy()
    assert int(lengths.sum()) == len(tokens), "lengths do not add up to the tokens"
    rows = rows.set_column(START, INDEX_SCHEMA.field(START), pa.array(np.cumsum(lengths) - lengths, pa.int64()))
    path = folder / shard_name(split, number)
    write_parquet(rows, path.with_suffix(".parquet"))
    with storage.atomic_path(path) as temporary:
        tokens.tofile(temporary)
    return Shard(split, number, len(tokens), len(rows), int(rows["num_bytes"].to_numpy().sum()))


def write_meta(
    folder: Path, shards: Sequence[Shard], *, vocab_size: int, end_of_text_id: int, token_bytes: np.ndarray
) -> dict[str, Any]:
    """Writes `token_bytes.npy` and `meta.json`, which turn the shards into a store. Returns the latter's content."""
    splits = {}
    for split in SPLITS:
        if members := sorted((s for s in shards if s.split == split), key=lambda s: s.number):
            splits[split] = {
                "num_tokens": sum(s.num_tokens for s in members),
                "num_documents": sum(s.num_documents for s in members),
                "num_bytes": sum(s.num_bytes for s in members),
                "shards": [
                    {"number": s.number, "num_tokens": s.num_tokens, "num_documents": s.num_documents} for s in members
                ],
            }
    meta = {
        "vocab_size": vocab_size,
        "dtype": token_dtype(vocab_size).name,
        "end_of_text_id": end_of_text_id,
        "splits": splits,
    }
    with storage.atomic_path(folder / TOKEN_BYTES) as temporary, temporary.open("wb") as file:
        np.save(file, token_bytes.astype("<i4"))
    storage.write_json(folder / META, meta)
    return meta
