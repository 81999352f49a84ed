"""Writes a token store from lists of token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bessemer.tokens.store import token_dtype
from bessemer.tokens.writer import Tokenized, index_rows, write_meta, write_shard


def write_store(
    folder: Path,
    documents: Mapping[str, Sequence[Sequence[int]]],
    *,
    vocab_size: int,
    end_of_text_id: int = 0,
    token_bytes: np.ndarray | None = None,
    documents_per_shard: int = 1000,
) -> Path:
    """Writes a store from token lists without end-of-text tokens. Returns `folder`.

    Documents are named `<split>-<number>`. Each token counts as one byte unless `token_bytes` is given.
    """
    dtype = token_dtype(vocab_size)
    if token_bytes is None:
        token_bytes = np.ones(vocab_size, np.int32)
        token_bytes[end_of_text_id] = 0
    shards = []
    for split, sequences in documents.items():
        for number, first in enumerate(range(0, len(sequences), documents_per_shard)):
            batch = [np.asarray([*s, end_of_text_id], dtype) for s in sequences[first : first + documents_per_shard]]
            names = [f"{split}-{first + i}" for i in range(len(batch))]
            rows = index_rows(
                names,
                [f"file:{name}" for name in names],
                ["memory"] * len(batch),
                np.array([len(tokens) for tokens in batch], np.int64),
                np.array([token_bytes[tokens].sum() for tokens in batch], np.int64),
            )
            shards.append(write_shard(folder, split, number, [Tokenized(np.concatenate(batch), rows)]))
    write_meta(folder, shards, vocab_size=vocab_size, end_of_text_id=end_of_text_id, token_bytes=token_bytes)
    return folder
