"""The token store: all tokens of a split as one long array on disk, with the document each came from.

    <folder>/meta.json                  vocab_size, dtype, end_of_text_id, splits
    <folder>/token_bytes.npy            int32[vocab_size]: UTF-8 bytes of each token, 0 for special ones
    <folder>/<split>/00000.bin          little-endian uint16 (uint32 where the vocabulary needs it)
    <folder>/<split>/00000.parquet      one row a document: id, url, source, start, length, num_bytes

A split is the concatenation of its shards in the order of their numbers, and a document is its tokens
followed by one end-of-text token. Shards are memory-mapped when first read, or read by ranges where the folder is a
URL, so that opening costs one small JSON file whatever the size of the corpus. `start` in an index counts
from the beginning of its shard; everything that `TokenStore` answers counts from the beginning of the split.
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
    """The narrowest stored type that holds every id."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def shard_name(split: str, number: int) -> str:
    """The token file of a shard; its index has the same name and the suffix `.parquet`."""
    return f"{split}/{number:05d}.bin"


class TokenStore:
    """Read access to a folder of token shards.

    store = TokenStore.open(path)
    store.num_tokens("train")
    store.read("train", start=1_000_000, count=2048)            # np.ndarray, uint16 or uint32
    store.documents_at("train", start=1_000_000, count=2048)    # ids, in order
    """

    def __init__(self, folder: Path | str) -> None:
        self._files = open_folder(folder)
        meta = self._files.json(META)
        if meta is None:
            raise UsageError(f"`{folder}` holds no tokens", hint="name the `data` folder of a `tokens` artifact")
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
        """Opens a store by its own folder or URL, or by the artifact's folder around it."""
        if isinstance(path, str) and "://" in path:
            return cls(path)
        path = Path(path)
        return cls(path if (path / META).exists() else path / "data")

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have documents."""
        return tuple(self._splits)

    def num_tokens(self, split: str) -> int:
        """Tokens of the split, end-of-text tokens included; 0 where it has no documents."""
        return int(self._splits.get(split, {}).get("num_tokens", 0))

    def num_documents(self, split: str) -> int:
        return int(self._splits.get(split, {}).get("num_documents", 0))

    def num_bytes(self, split: str) -> int:
        """UTF-8 bytes of the documents' texts."""
        return int(self._splits.get(split, {}).get("num_bytes", 0))

    def check(self, *splits: str) -> None:
        """Raises ArtifactDamaged for the first shard of the splits that is missing or cut short."""
        for split in splits:
            for shard in range(len(self._ends.get(split, ()))):
                self._check(split, shard)

    @cached_property
    def token_bytes(self) -> np.ndarray:
        """int32[vocab_size]: how many UTF-8 bytes each token stands for; 0 for special tokens."""
        sizes: np.ndarray = self._files.array(TOKEN_BYTES)
        return sizes

    def read(self, split: str, start: int, count: int) -> np.ndarray:
        """`count` tokens from position `start` of the split: a view of one shard, or a copy across several.

        Raises IndexError where the split has no such positions.
        """
        pieces = [self._map(split, shard)[a:b] for shard, a, b in self._spans(split, start, count)]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, self.dtype)

    def read_all(self, split: str, spans: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """`read` of each (start, count), several at a time where reading means to wait."""
        return self._files.map(lambda span: self.read(split, *span), spans)

    def rows_at(self, split: str, start: int, count: int) -> pa.Table:
        """The index rows of the documents that own the tokens `start .. start + count`, in order.

        `start` in the answer counts from the beginning of the split.
        """
        tables = []
        for shard, first, last in self._spans(split, start, count):
            index = self._index(split, shard)
            starts = index["start"].to_numpy()
            begin = int(np.searchsorted(starts, first, side="right")) - 1
            end = int(np.searchsorted(starts, last, side="left"))
            tables.append(self._from_split(index.slice(begin, end - begin), split, shard))
        return pa.concat_tables(tables) if tables else INDEX_SCHEMA.empty_table()

    def documents_at(self, split: str, start: int, count: int) -> list[str]:
        """The ids of the documents that own the tokens `start .. start + count`, in order."""
        return [str(name) for name in self.rows_at(split, start, count)["id"].to_pylist()]

    def iter_rows(self, split: str) -> Iterator[pa.Table]:
        """The whole index of a split, one table a shard."""
        for shard in range(len(self._ends.get(split, ()))):
            yield self._from_split(self._index(split, shard), split, shard)

    def _spans(self, split: str, start: int, count: int) -> list[tuple[int, int, int]]:
        """(shard, first, last) for each shard that `start .. start + count` touches."""
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
