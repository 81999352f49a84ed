"""The token store: the tokens of each split as one long array on disk, with an index of their documents.

    <folder>/meta.json                  vocab_size, dtype, end_of_text_id, splits
    <folder>/token_bytes.npy            int32[vocab_size]: UTF-8 bytes of each token, 0 for special tokens
    <folder>/<split>/00000.bin          little-endian uint16, or uint32 if the vocabulary needs it
    <folder>/<split>/00000.parquet      one row per document: id, url, source, start, length, num_bytes

A split is the concatenation of its shards in the order of their numbers. A document is the special tokens that its
tokenizer puts before a text (BOS), its own tokens, and one end-of-text token. Shards are memory-mapped at the first
read, or read by ranges if the folder is a URL. Opening a store therefore reads one small JSON file, regardless of the
size of the corpus. In an index file, `start` counts from the beginning of the shard. All positions in the interface of
`TokenStore` count from the beginning of the split.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bessemer.errors import ArtifactDamaged, UsageError
from bessemer.tokens.folders import Sliceable, open_folder

META = "meta.json"
TOKEN_BYTES = "token_bytes.npy"

INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),
    ]
)
START = INDEX_SCHEMA.get_field_index("start")


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """The smallest stored type that can represent every id."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def shard_name(split: str, number: int) -> str:
    """The name of a shard's token file. Its index file has the same name with the suffix `.parquet`."""
    return f"{split}/{number:05d}.bin"


class TokenStore:
    """Read access to a folder of token shards.

    store = TokenStore.open(path)
    store.num_tokens("train")
    store.read("train", start=1_000_000, count=2048)            # np.ndarray, uint16 or uint32
    store.rows_at("train", start=1_000_000, count=2048)         # rows of the documents, in order
    """

    def __init__(self, folder: Path | str) -> None:
        self._files = open_folder(folder)
        meta = self._files.json(META)
        if meta is None:
            raise UsageError(
                f"`{folder}` holds no tokens: it has no `{META}`", hint="use the `data` folder of a `tokens` artifact"
            )
        self.folder = folder
        self.meta: dict[str, Any] = meta
        self.vocab_size: int = meta["vocab_size"]
        self.end_of_text_id: int = meta["end_of_text_id"]
        self.dtype = np.dtype(meta["dtype"]).newbyteorder("<")
        self._splits: dict[str, dict[str, Any]] = meta["splits"]
        self._ends = {
            split: list(accumulate(shard["num_tokens"] for shard in info["shards"]))
            for split, info in self._splits.items()
        }
        self._maps: dict[tuple[str, int], Sliceable] = {}

    @classmethod
    def open(cls, path: Path | str) -> TokenStore:
        """Opens a store from its folder or URL, or from the folder of the artifact that contains it."""
        if isinstance(path, str) and "://" in path:
            return cls(path)
        path = Path(path)
        return cls(path if (path / META).exists() else path / "data")

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have documents."""
        return tuple(self._splits)

    def num_tokens(self, split: str) -> int:
        """Number of tokens in the split, including end-of-text tokens; 0 if the split has no documents."""
        return int(self._splits.get(split, {}).get("num_tokens", 0))

    def num_documents(self, split: str) -> int:
        return int(self._splits.get(split, {}).get("num_documents", 0))

    def num_bytes(self, split: str) -> int:
        """Total size of the texts in the split, in UTF-8 bytes."""
        return int(self._splits.get(split, {}).get("num_bytes", 0))

    def check(self, *splits: str) -> None:
        """Raises ArtifactDamaged if a shard of the splits is missing or has the wrong size."""
        for split in splits:
            for shard in range(len(self._ends.get(split, ()))):
                self._check(split, shard)

    @cached_property
    def token_bytes(self) -> np.ndarray:
        """int32[vocab_size]: the number of UTF-8 bytes of each token; 0 for special tokens."""
        sizes: np.ndarray = self._files.array(TOKEN_BYTES)
        return sizes

    def read(self, split: str, start: int, count: int) -> np.ndarray:
        """`count` tokens from position `start` of the split: a view of one shard, or a copy from several.

        Raises IndexError if positions are outside the split.
        """
        pieces = [self._map(split, shard)[a:b] for shard, a, b in self._spans(split, start, count)]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, self.dtype)

    def read_all(self, split: str, spans: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """Returns `read(split, start, count)` for each (start, count). Remote reads run in parallel."""
        return self._files.map(lambda span: self.read(split, *span), spans)

    def rows_at(self, split: str, start: int, count: int) -> pa.Table:
        """The index rows of the documents that contain tokens from `start` up to `start + count`, in order.

        The column `start` in the result counts from the beginning of the split.
        """
        tables = []
        for shard, first, last in self._spans(split, start, count):
            index = self._index(split, shard)
            starts = index["start"].to_numpy()
            begin = int(np.searchsorted(starts, first, side="right")) - 1
            end = int(np.searchsorted(starts, last, side="left"))
            tables.append(self._from_split(index.slice(begin, end - begin), split, shard))
        return pa.concat_tables(tables) if tables else INDEX_SCHEMA.empty_table()

    def iter_rows(self, split: str) -> Iterator[pa.Table]:
        """Yields the whole index of a split, one table per shard."""
        for shard in range(len(self._ends.get(split, ()))):
            yield self._from_split(self._index(split, shard), split, shard)

    def _spans(self, split: str, start: int, count: int) -> list[tuple[int, int, int]]:
        """(shard, first, last) for each shard that contains tokens from `start` up to `start + count`."""
        total = self.num_tokens(split)
        if start < 0 or count < 0 or start + count > total:
            raise IndexError(f"tokens {start}..{start + count} of split `{split}`, which has {total}")
        ends = self._ends.get(split, [])
        spans = []
        shard = bisect_right(ends, start)
        position, stop = start, start + count
        while position < stop:
            base = ends[shard - 1] if shard else 0
            last = min(stop, ends[shard])
            spans.append((shard, position - base, last - base))
            position, shard = last, shard + 1
        return spans

    def _name(self, split: str, shard: int) -> str:
        return shard_name(split, self._splits[split]["shards"][shard]["number"])

    def _map(self, split: str, shard: int) -> Sliceable:
        key = (split, shard)
        if key not in self._maps:
            self._check(split, shard)
            self._maps[key] = self._files.tokens(self._name(split, shard), self.dtype)
        return self._maps[key]

    def _check(self, split: str, shard: int) -> None:
        name = self._name(split, shard)
        expected = self._splits[split]["shards"][shard]["num_tokens"] * self.dtype.itemsize
        if self._files.size(name) != expected:
            raise ArtifactDamaged(
                f"token shard `{self._files}/{name}` is missing or not {expected} bytes long",
                hint="run the recipe again with `--rerun tokenize`",
            )

    def _index(self, split: str, shard: int) -> pa.Table:
        return self._files.table(self._name(split, shard).removesuffix(".bin") + ".parquet")

    def _from_split(self, rows: pa.Table, split: str, shard: int) -> pa.Table:
        base = self._ends[split][shard - 1] if shard else 0
        starts = pa.array(rows["start"].to_numpy() + base, pa.int64())
        return rows.set_column(START, INDEX_SCHEMA.field(START), starts)
