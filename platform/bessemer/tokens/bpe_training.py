"""Trains a byte-level BPE tokenizer on a bounded sample of the training split.

The sample depends on the documents' ids only. It takes documents in the order of the hashes of their ids until the
given number of bytes is full (bottom-k sampling). The split into files and their order therefore do not matter, one
pass is enough, and memory is bounded by the sample and one batch. Training counts words and merges the most frequent
pair, with ties broken by id, so it is deterministic with any number of threads. Measured: 33 MB of text to 8192 tokens
in 11 s on two cores, with the same bytes on one core.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from bessemer.fingerprint import unit_interval
from bessemer.tokens.parallelism import parallelism
from bessemer.tokens.special import SPECIAL_TOKENS
from bessemer.tokens.words import PATTERN, TRAINING_PATTERN

LONGEST = 1 << 20
"""Maximum number of characters per document in the sample. A document also takes at most an eighth of the sample."""

MIN_FREQUENCY = 2
SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)


def sample_texts(tables: Iterable[pa.Table], sample_bytes: int) -> list[str]:
    """A sample of the texts in split `train`, of at most `sample_bytes` UTF-8 bytes in total.

    The tables need the columns `id`, `text` and `split`.
    """
    # A heap of (-hash, id, text, bytes) with the largest hash on top. After a document was removed, no document with a
    # larger hash is added, so the sample is a prefix of the corpus in the order of the hashes.
    chosen: list[tuple[float, str, str, int]] = []
    total = 0
    limit = 1.0
    longest = min(LONGEST, sample_bytes // 8)
    for table in tables:
        table = table.filter(pc.equal(table["split"], "train"))
        hashes = [unit_interval("tokenizer", name) for name in table["id"].to_pylist()]
        candidates = np.flatnonzero(np.array(hashes) < limit)
        for row, entry in zip(candidates, table.take(candidates).select(["id", "text"]).to_pylist(), strict=True):
            if hashes[row] >= limit:
                continue
            text = entry["text"][:longest]
            size = len(text.encode())
            heapq.heappush(chosen, (-hashes[row], entry["id"], text, size))
            total += size
            while total > sample_bytes:
                value, _, _, size = heapq.heappop(chosen)
                total -= size
                limit = -value
    return [text for _, _, text, _ in sorted(chosen, reverse=True)]


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of `vocab_size` tokens; fewer if `texts` contain no more pairs that occur at least twice."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _pre_tokenizer(TRAINING_PATTERN)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with parallelism(True):
        tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = _pre_tokenizer(PATTERN)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _pre_tokenizer(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
