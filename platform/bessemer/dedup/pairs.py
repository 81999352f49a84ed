"""Finds near duplicates in files: the steps `bands`, `pairs`, `shingles` and `verified`.

A pair occurs in every bucket that its documents share, and these buckets can be in different ranges. The unit of the
part with the later document verifies the pair, once, from memory-mapped shingle sets.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bessemer.dedup.arrays import distinct, run_starts
from bessemer.dedup.candidates import Bucketed, CandidatePairs, propose
from bessemer.dedup.copies import COPIES, read_batches
from bessemer.dedup.exchange import (
    Columns,
    Workspace,
    hash_range,
    locations,
    mapped,
    part_range,
    parts_of,
    read_range,
    rows_of,
    write_batches,
    write_runs,
)
from bessemer.dedup.shingles import jaccard, shingle_sets, similarity
from bessemer.dedup.words import find_words

BANDS = pa.schema([("key", pa.uint64()), ("size", pa.uint32()), ("rank", pa.uint64()), ("location", pa.uint64())])
PAIRS = pa.schema([("later", pa.uint64()), ("earlier", pa.uint64()), ("earlier_rank", pa.uint64())])
MEMBERS = pa.schema([("location", pa.uint64())])
SHINGLES = pa.schema([("row", pa.uint32()), ("folded", pa.list_(pa.uint64())), ("with_numbers", pa.list_(pa.uint64()))])
"""The two shingle sets of a document: with folded numbers and no operators, and with numbers and operators."""
VERIFIED = pa.schema([("later", pa.uint64()), ("earlier", pa.uint64()), ("jaccard", pa.float64())])
"""The pairs of each later document, sorted by similarity (highest first), then by the id of the earlier document."""


def write_bands(workspace: Workspace, number: int, of: int) -> dict[str, int]:
    """Writes the buckets of a part's documents. Omits copies and documents without words."""
    copies = read_range(workspace.files("copies"), COPIES, *part_range(number))
    with mapped(workspace.file("documents", number)) as (batch,):
        kept, size, rank = (batch[name].to_numpy() for name in ("kept", "size", "rank"))
        stays = (kept == np.arange(len(kept))) & (size > 0)
        stays[rows_of(copies["location"])] = False
        rows = np.flatnonzero(stays)
        keys = batch["bands"].flatten().to_numpy().reshape(-1, workspace.settings.num_bands)[rows]
        of_documents = (size[rows], rank[rows], locations(number, rows))
    columns = (keys.ravel(), *(np.repeat(column, workspace.settings.num_bands) for column in of_documents))
    order = np.argsort(columns[0], kind="stable")
    run = {name: column[order] for name, column in zip(BANDS.names, columns, strict=True)}
    return {"num_band_rows": write_runs(workspace.file("bands", number), BANDS, [run])}


def propose_pairs(workspace: Workspace, number: int, of: int) -> dict[str, int]:
    """Writes the pairs in one range of buckets, and every document in these pairs."""
    settings = workspace.settings
    rows = read_range(workspace.files("bands"), BANDS, *hash_range(number, of))
    proposals = propose(Bucketed(**rows), settings.threshold, settings.max_candidates)
    members = [np.empty(0, np.uint64)]

    def runs() -> Iterator[Columns]:
        for pairs in proposals.blocks:
            members.append(distinct(np.concatenate((pairs.later, pairs.earlier))))
            yield vars(pairs)

    write_runs(workspace.file("pairs", number), PAIRS, runs())
    run = {"location": distinct(np.concatenate(members))}
    write_runs(workspace.file("members", number), MEMBERS, [run])
    return {
        "num_buckets": proposals.num_buckets,
        "largest_bucket": proposals.largest_bucket,
        "num_capped": proposals.capped,
        "num_left_out": proposals.left_out,
    }


def write_shingles(workspace: Workspace, number: int, of: int) -> dict[str, int]:
    """Writes the shingle sets of those documents of a part that are in pairs."""
    members = read_range(workspace.files("members"), MEMBERS, *part_range(number))["location"]
    rows = rows_of(distinct(members))

    def batches() -> Iterator[pa.RecordBatch]:
        begin = 0
        for batch in read_batches(workspace.parts[number], ["text"]) if len(rows) else ():
            wanted = rows[slice(*np.searchsorted(rows, (begin, begin + len(batch))))]
            if len(wanted):
                texts = batch["text"].take(pa.array(wanted - begin)).to_pylist()
                words = find_words(texts)
                both = [shingle_sets(found, workspace.settings.ngram_size) for found in (words.folded(), words)]
                lists = [pa.ListArray.from_arrays(sets.offsets.astype(np.int32), sets.values) for sets in both]
                yield pa.record_batch([pa.array(wanted.astype(np.uint32)), *lists], schema=SHINGLES)
            begin += len(batch)

    return {"num_compared": write_batches(workspace.file("shingles", number), SHINGLES, batches())}


def verify_pairs(workspace: Workspace, number: int, of: int) -> dict[str, int]:
    """Measures the similarity of every pair whose later document is in this part, from the full shingle sets."""
    columns = read_range(workspace.files("pairs"), PAIRS, *part_range(number))
    pairs = CandidatePairs(**columns).distinct()
    measured = np.zeros(len(pairs))
    order = np.argsort(pairs.earlier, kind="stable")  # opens each of the other parts once and reads it forwards
    other_parts = parts_of(pairs.earlier)[order]
    cuts = [*run_starts(other_parts).tolist(), len(order)]
    with mapped(workspace.file("shingles", number)) as ours:
        own, own_numbers = _Sets(ours, "folded"), _Sets(ours, "with_numbers")
        for begin, end in pairwise(cuts):
            with mapped(workspace.file("shingles", int(other_parts[begin]))) as theirs:
                other, other_numbers = _Sets(theirs, "folded"), _Sets(theirs, "with_numbers")
                for index in order[begin:end]:
                    first, second = int(rows_of(pairs.earlier[index])), int(rows_of(pairs.later[index]))
                    measured[index] = folded = jaccard(other[first], own[second])
                    if folded >= workspace.settings.threshold:
                        with_numbers = jaccard(other_numbers[first], own_numbers[second])
                        measured[index] = similarity(folded, with_numbers)
    order = np.lexsort((pairs.earlier, pairs.earlier_rank, -measured, pairs.later))
    run = {"later": pairs.later[order], "earlier": pairs.earlier[order], "jaccard": measured[order]}
    write_runs(workspace.file("verified", number), VERIFIED, [run])
    duplicates = int(np.count_nonzero(measured >= workspace.settings.threshold))
    return {"num_pairs": len(pairs), "num_verified": duplicates}


class _Sets:
    """The shingle sets of one column of a mapped file, by row."""

    def __init__(self, batches: list[pa.RecordBatch], name: str) -> None:
        self._rows = [batch["row"].to_numpy() for batch in batches]
        self._last = [int(rows[-1]) for rows in self._rows]
        self._offsets = [batch[name].offsets.to_numpy() for batch in batches]
        self._values: list[npt.NDArray[np.uint64]] = [batch[name].values.to_numpy() for batch in batches]

    def __getitem__(self, row: int) -> npt.NDArray[np.uint64]:
        batch = bisect.bisect_left(self._last, row)
        place = int(np.searchsorted(self._rows[batch], row))
        begin, end = self._offsets[batch][place : place + 2]
        return self._values[batch][begin:end]
