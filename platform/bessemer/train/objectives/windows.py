"""Token windows of a fixed length: the rows of every objective on plain text.

Training treats the corpus of N tokens as a ring. In epoch e, window i starts at token (o_e + i * length) mod N. The
origin o_e is random, seeded by (seed, e), so each epoch cuts the text at different places. No row needs padding. Each
epoch leaves out N mod length tokens, at a different place each time. Documents are concatenated, separated by their
end-of-text token. A row may start inside a document. Best-fit packing would avoid this, but would cut off a third of
the tokens at this length. Hiding other documents with a mask gained nothing in nanochat's ablations.

A row has length + 1 tokens: the inputs are all but the last, and the targets are all but the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from bessemer.tokens.store import TokenStore
from bessemer.train.sampler import Integers, Rows


@dataclass(frozen=True)
class TrainingWindows:
    """The windows of a split in training order. `length` must be smaller than the split's number of tokens."""

    store: TokenStore
    split: str
    length: int
    seed: int

    @property
    def num_rows(self) -> int:
        return self.store.num_tokens(self.split) // self.length

    def read(self, rows: Rows) -> Integers:
        """Token ids [rows, length + 1]."""
        found = np.empty((len(rows), self.length + 1), dtype=np.int64)
        spans = [self._spans(start) for start in self._starts(rows)]
        pieces = iter(self.store.read_all(self.split, [span for row in spans for span in row]))
        for row, cut in enumerate(spans):
            filled = 0
            for _, count in cut:
                found[row, filled : filled + count] = next(pieces)
                filled += count
        return found

    def documents(self, rows: Rows) -> list[str]:
        """The ids of the documents whose tokens are in `rows`, in order, without duplicates."""
        found: dict[str, None] = {}
        for table in self.rows_of_index(rows):
            found.update(dict.fromkeys(table["id"].to_pylist()))
        return list(found)

    def rows_of_index(self, rows: Rows) -> Iterator[pa.Table]:
        """The store's index entries of the documents whose tokens are in `rows`, in order; one table per span."""
        for start in self._starts(rows):
            for begin, count in self._spans(start):
                yield self.store.rows_at(self.split, begin, count)

    def rows_holding(self, epoch: int, start: int, count: int) -> Rows:
        """The rows of an epoch whose windows contain any token of `start` <= token < `start + count` of the split."""
        total = self.store.num_tokens(self.split)
        index = np.arange(self.num_rows)
        # A window covers length + 1 tokens of the ring. The distance is from the window's first token to `start`.
        distance = (start - _origin(self.seed, epoch, total) - index * self.length) % total
        holding = index[(distance <= self.length) | (distance + count > total)]
        return Rows(np.full(len(holding), epoch), holding)

    def _starts(self, rows: Rows) -> list[int]:
        total = self.store.num_tokens(self.split)
        origins = np.array([_origin(self.seed, int(epoch), total) for epoch in rows.epoch], dtype=np.int64)
        starts: list[int] = ((origins + rows.index * self.length) % total).tolist()
        return starts

    def _spans(self, start: int) -> list[tuple[int, int]]:
        """(start, count) of the one or two contiguous spans of a window: two if it wraps around the ring's end."""
        total, wanted = self.store.num_tokens(self.split), self.length + 1
        first = min(wanted, total - start)
        return [(start, first)] if first == wanted else [(start, first), (0, wanted - first)]


@lru_cache(maxsize=64)
def _origin(seed: int, epoch: int, total: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, total)).generate_state(1, np.uint64)[0] % total)


@dataclass(frozen=True)
class ValidationWindows:
    """The fixed windows of a held-out split: adjacent, with padding in the last.

    If there are more than `limit` windows, `limit` evenly spread ones are used.
    """

    store: TokenStore
    split: str
    length: int
    limit: int

    @property
    def num_rows(self) -> int:
        return min(self.limit, self._available)

    def read(self, first: int, last: int, padding: int) -> Integers:
        """Token ids [last - first, length + 1] of windows `first` <= window < `last`.

        Positions after the end of the split contain `padding`.
        """
        total = self.store.num_tokens(self.split)
        found = np.full((last - first, self.length + 1), padding, dtype=np.int64)
        starts = [number * self._available // self.num_rows * self.length for number in range(first, last)]
        spans = [(start, min(self.length + 1, total - start)) for start in starts]
        for row, tokens in enumerate(self.store.read_all(self.split, spans)):
            found[row, : len(tokens)] = tokens
        return found

    @property
    def _available(self) -> int:
        """Number of windows with at least one target."""
        return -(-max(0, self.store.num_tokens(self.split) - 1) // self.length)
