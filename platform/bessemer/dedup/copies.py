"""Finds exact copies in files: the steps `documents` and `copies`.

The first step finds copies within a part while it reads the part, and passes on only the copy that stays. So the second
step sees even a common text at most once per part. Only texts that are new to their part get signatures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bessemer.dedup.arrays import Keys
from bessemer.dedup.exact import exact_hashes, first_copies
from bessemer.dedup.exchange import Workspace, hash_range, locations, read_range, write_batches, write_runs
from bessemer.dedup.settings import DedupSettings
from bessemer.dedup.shingles import shingle_sets
from bessemer.dedup.signatures import band_keys, signatures
from bessemer.dedup.words import find_words

HASHES = pa.schema([(name, pa.uint64()) for name in ("high", "low", "preference", "rank", "location")])
"""One row per text and part. The copy with the least `preference` stays; `rank` orders documents as their ids do."""

COPIES = pa.schema([("location", pa.uint64()), ("kept", pa.uint64())])
"""Documents with a copy in another part that stays instead."""

BATCH_ROWS, BATCH_BYTES = 256, 16 << 20

_NOT_FROZEN = 1 << 32
"""Added to the length of a URL, so that a frozen copy stays."""

_T = TypeVar("_T", bound=np.generic)


def documents_schema(settings: DedupSettings) -> pa.Schema:
    """Schema for all documents of a part, in order. `kept` is the row of the copy that stays; only that row has a size
    and bands.

    `size` counts distinct shingles with numbers. A document is `frozen` if its split is not in `settings.splits`.
    """
    return pa.schema(
        [
            ("id", pa.string()),
            ("url", pa.string()),
            ("source", pa.string()),
            ("frozen", pa.bool_()),
            ("rank", pa.uint64()),
            ("kept", pa.uint64()),
            ("size", pa.uint32()),
            ("bands", pa.list_(pa.uint64(), settings.num_bands)),
        ]
    )


def index_documents(workspace: Workspace, number: int, of: int) -> dict[str, int]:
    """Hashes and signs the documents of a part."""
    settings = workspace.settings
    schema = documents_schema(settings)
    named, hashes = [pa.schema(list(schema)[:3]).empty_table()], [np.empty((0, 2), np.uint64)]
    sizes, bands = [np.empty(0, np.uint32)], [np.empty((0, settings.num_bands), np.uint64)]
    seen: set[tuple[int, ...]] = set()
    frozen = [np.empty(0, bool)]
    for batch in read_batches(workspace.parts[number], ["id", "url", "source", "split", "text"]):
        texts = batch["text"].to_pylist()
        named.append(batch.select(named[0].column_names).cast(named[0].schema))
        frozen.append(pc.invert(pc.is_in(batch["split"], pa.array(settings.splits, pa.string()))).to_numpy())
        hashes.append(exact_hashes(texts))
        new = []
        for row, text_hash in enumerate(map(tuple, hashes[-1].tolist())):
            if text_hash not in seen:
                seen.add(text_hash)
                new.append(row)
        size, band = _sign([texts[row] for row in new], settings)
        sizes.append(_spread(size, new, len(texts)))
        bands.append(_spread(band, new, len(texts)))

    names = pa.concat_tables(named)
    digest, size, band = np.concatenate(hashes), np.concatenate(sizes), np.concatenate(bands)
    rows = np.arange(len(digest), dtype=np.uint64)
    rank = _ranks(names["id"].to_pylist())
    is_frozen = np.concatenate(frozen)
    preference = np.array([len(url) for url in names["url"].to_pylist()], np.uint64)
    preference += np.where(is_frozen, 0, _NOT_FROZEN).astype(np.uint64)
    kept = first_copies(digest, (preference, rank, rows))
    stays = np.unique(kept)
    signed = first_copies(digest, (rows,))[stays]  # the first copy seen has the signature

    order = stays[np.argsort(digest[stays, 0], kind="stable")]
    columns = (digest[:, 0], digest[:, 1], preference, rank, locations(number, rows))
    run = {name: column[order] for name, column in zip(HASHES.names, columns, strict=True)}
    write_runs(workspace.file("hashes", number), HASHES, [run])

    arrays = [names[name].combine_chunks() for name in names.column_names]
    arrays += [
        pa.array(is_frozen),
        pa.array(rank),
        pa.array(kept.astype(np.uint64)),
        pa.array(_spread(size[signed], stays, len(rows))),
    ]
    flat = pa.array(_spread(band[signed], stays, len(rows)).ravel())
    arrays.append(pa.FixedSizeListArray.from_arrays(flat, settings.num_bands))
    write_batches(workspace.file("documents", number), schema, [pa.record_batch(arrays, schema=schema)])
    return {"num_documents": len(rows), "num_texts": len(stays)}


def find_copies(workspace: Workspace, number: int, of: int) -> dict[str, int]:
    """Finds copies of one text in different parts, for one range of hashes."""
    rows = read_range(workspace.files("hashes"), HASHES, *hash_range(number, of))
    digests = np.stack((rows["high"], rows["low"]), axis=1)
    location = rows["location"]
    kept = location[first_copies(digests, (rows["preference"], rows["rank"], location))]
    gone = np.flatnonzero(kept != location)
    gone = gone[np.argsort(location[gone])]
    run = {"location": location[gone], "kept": kept[gone]}
    write_runs(workspace.file("copies", number), COPIES, [run])
    return {}


def read_batches(part: Path, columns: list[str]) -> Iterator[pa.Table]:
    """The columns of a part in order, in batches of at most BATCH_ROWS rows and about BATCH_BYTES (at least one
    row)."""

    def split(table: pa.Table) -> Iterator[pa.Table]:
        if len(table) <= 1 or table.nbytes <= BATCH_BYTES:
            yield table
        else:
            yield from split(table.slice(0, len(table) // 2))
            yield from split(table.slice(len(table) // 2))

    with pq.ParquetFile(part, memory_map=True) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
            yield from split(pa.Table.from_batches([batch]).select(columns))


def _sign(texts: list[str], settings: DedupSettings) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]:
    if not settings.fuzzy or not texts:
        return np.zeros(len(texts), np.uint32), np.zeros((len(texts), settings.num_bands), np.uint64)
    sets = shingle_sets(find_words(texts), settings.ngram_size)
    signed = signatures(sets, settings.num_bands * settings.rows_per_band, settings.seed)
    return sets.sizes.astype(np.uint32), band_keys(signed, settings.num_bands)


def _spread(values: npt.NDArray[_T], rows: Any, count: int) -> npt.NDArray[_T]:
    """An array of `count` rows with `values` at `rows` and zeros elsewhere."""
    result = np.zeros((count, *values.shape[1:]), values.dtype)
    result[rows] = values
    return result


def _ranks(ids: list[str]) -> Keys:
    """The first 64 bits of the ids. They sort documents in the order of the ids."""
    assert all(len(identity) == 32 for identity in ids), "an id is 32 hexadecimal digits"
    return np.frombuffer(bytes.fromhex("".join(ids)), ">u8")[::2].astype(np.uint64)
