"""Writes token shards. One unit of documents makes one shard a split, and equal input makes equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bessemer import storage
from bessemer.artifacts.documents import SPLITS, write_parquet
from bessemer.tokens.store import INDEX_SCHEMA, META, TOKEN_BYTES, shard_path, token_dtype


class Shard(NamedTuple):
    """What a split of one unit holds; `meta.json` lists these."""

    split: str
    number: int
    num_tokens: int
    num_documents: int
    num_bytes: int


def write_shard(
    folder: Path,
    split: str,
    number: int,
    tokens: np.ndarray,
    lengths: np.ndarray,
    *,
    ids: Any,
    urls: Any,
    sources: Any,
    num_bytes: np.ndarray,
) -> Shard:
    """Writes one shard and its index.

    `tokens` is the concatenation of the documents in the stored type, each with its end-of-text token, and
    `lengths` int64[documents] says how many belong to each. The index is written first: a token file is
    never without one.
    """
    assert int(lengths.sum()) == len(tokens), "lengths do not add up to the tokens"
    starts = np.cumsum(lengths) - lengths
    columns = [pa.array(c) if isinstance(c, list) else c for c in (ids, urls, sources)]
    columns += [pa.array(c, pa.int64()) for c in (starts, lengths, num_bytes)]
    path = shard_path(folder, split, number)
    write_parquet(pa.table(columns, schema=INDEX_SCHEMA), path.with_suffix(".parquet"))
    with storage.atomic_path(path) as temporary:
        tokens.tofile(temporary)
    return Shard(split, number, len(tokens), len(lengths), int(num_bytes.sum()))


def write_meta(
    folder: Path, shards: Sequence[Shard], *, vocab_size: int, end_of_text_id: int, token_bytes: np.ndarray
) -> dict[str, Any]:
    """Writes `token_bytes.npy` and `meta.json`, which make a store of the shards; returns the latter."""
    splits = {}
    for split in SPLITS:
        if members := sorted((s for s in shards if s.split == split), key=lambda s: s.number):
            splits[split] = {
                "num_tokens": sum(s.num_tokens for s in members),
                "num_documents": sum(s.num_documents for s in members),
                "num_bytes": sum(s.num_bytes for s in members),
                "shards": [
                    {"number": s.number, "num_tokens": s.num_tokens, "num_documents": s.num_documents}
                    for s in members
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


def write_store(
    folder: Path,
    documents: Mapping[str, Sequence[Sequence[int]]],
    *,
    vocab_size: int,
    end_of_text_id: int = 0,
    token_bytes: np.ndarray | None = None,
    documents_per_shard: int = 1000,
) -> Path:
    """A store from token lists in memory, without their end-of-text tokens; for tests and experiments.

    Documents are named `<split>-<number>`; a token counts as one byte unless `token_bytes` says otherwise.
    """
    dtype = token_dtype(vocab_size)
    if token_bytes is None:
        token_bytes = np.ones(vocab_size, np.int32)
        token_bytes[end_of_text_id] = 0
    shards = []
    for split, sequences in documents.items():
        for number, first in enumerate(range(0, len(sequences), documents_per_shard)):
            batch = [
                np.asarray([*s, end_of_text_id], dtype)
                for s in sequences[first : first + documents_per_shard]
            ]
            names = [f"{split}-{first + i}" for i in range(len(batch))]
            shards.append(
                write_shard(
                    folder,
                    split,
                    number,
                    np.concatenate(batch),
                    np.array([len(b) for b in batch], np.int64),
                    ids=names,
                    urls=[f"file:{name}" for name in names],
                    sources=["memory"] * len(batch),
                    num_bytes=np.array([token_bytes[b].sum() for b in batch], np.int64),
                )
            )
    write_meta(folder, shards, vocab_size=vocab_size, end_of_text_id=end_of_text_id, token_bytes=token_bytes)
    return folder
