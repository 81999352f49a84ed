"""Decides the verdict on each document: the step `removed`, then `decided` and `judge` for the output.

Of several exact copies one stays, and the others share its verdict: if it is a near duplicate of a third document, all
are removed in favour of that document. So the evidence in the ledger always names a kept document (the most similar
one), and the value is the similarity to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bessemer import storage
from bessemer.artifacts.descriptions import Reason
from bessemer.artifacts.documents import SCHEMA
from bessemer.artifacts.ledger import KEPT, REMOVED, ledger_table
from bessemer.dedup.arrays import Keys, distinct, lookup, run_starts
from bessemer.dedup.copies import COPIES, read_batches
from bessemer.dedup.exchange import (
    Columns,
    Workspace,
    locations,
    mapped,
    part_range,
    parts_of,
    read_range,
    rows_of,
    write_runs,
)
from bessemer.dedup.pairs import VERIFIED
from bessemer.dedup.survivors import removed_documents

EXACT, NEAR = "exact_duplicate", "near_duplicate"
RULES: Mapping[str, Reason] = {
    EXACT: Reason("The text of a kept document, which the evidence names. White space and Unicode forms do not count."),
    NEAR: Reason("Almost the text of a kept document; the value is the Jaccard similarity of their shingles.",
                 "`threshold`", "MinHash (Broder, 1997), verified"),
}  # fmt: skip
"""The rules that remove a document, by their name in the ledger."""
SIGNALS: Sequence[str] = ("jaccard", "num_shingles")
"""`jaccard`: the highest measured similarity to an earlier document. `num_shingles`: number of distinct shingles."""

ALARM_MIN_DOCUMENTS = 20  # a source of a few pages loses most of them by chance

DUPLICATES = pa.schema([("location", pa.uint64()), ("kept", pa.uint64()), ("jaccard", pa.float64())])


def decide(workspace: Workspace, number: int, of: int) -> dict[str, int]:
    """Writes the near duplicates to remove, the documents that replace them, and the sources that lose most of their
    documents."""
    threshold = workspace.settings.threshold
    files, frozen = workspace.files("verified"), _frozen_documents(workspace)
    removed = removed_documents(*_duplicate_pairs(files, threshold, frozen))

    columns = [[np.empty(0, field.type.to_pandas_dtype())] for field in DUPLICATES]
    for path in files:
        pairs = _directed(read_range([path], VERIFIED), threshold, frozen)
        good = lookup(removed, pairs["later"])[0] & ~lookup(removed, pairs["earlier"])[0]
        order = np.flatnonzero(good)[np.argsort(pairs["later"][good], kind="stable")]
        best = order[run_starts(pairs["later"][order])]  # the most similar comes first
        for column, name in zip(columns, VERIFIED.names, strict=True):
            column.append(pairs[name][best])
    run = {name: np.concatenate(column) for name, column in zip(DUPLICATES.names, columns, strict=True)}
    order = np.lexsort((-run["jaccard"], run["location"]))
    order = order[run_starts(run["location"][order])]  # a frozen document may be in the file of another part
    run = {name: column[order] for name, column in run.items()}
    assert np.array_equal(run["location"], removed), "every near duplicate resembles a kept document"
    write_runs(workspace.file("removed", 0), DUPLICATES, [run])
    storage.write_json(_alarms_file(workspace), _count_losses(workspace))
    return {"num_near_duplicates": len(removed)}


def _duplicate_pairs(files: Sequence[Path], threshold: float, frozen: Keys) -> tuple[Keys, Keys]:
    later, earlier = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for path in files:
        pairs = _directed(read_range([path], VERIFIED), threshold, frozen)
        later.append(pairs["later"])
        earlier.append(pairs["earlier"])
    return np.concatenate(later), np.concatenate(earlier)


def _directed(pairs: Columns, threshold: float, frozen: Keys) -> Columns:
    """The pairs at or above the threshold, ordered so that `later` may be removed: a frozen `later` is swapped with
    `earlier`.

    Omits pairs of two frozen documents. The pairs of one `later` keep their order: the most similar first.
    """
    pairs = {name: column[pairs["jaccard"] >= threshold] for name, column in pairs.items()}
    if not len(frozen):
        return pairs
    later, earlier = pairs["later"], pairs["earlier"]
    later_frozen, earlier_frozen = lookup(frozen, later)[0], lookup(frozen, earlier)[0]
    pairs["later"] = np.where(later_frozen, earlier, later)
    pairs["earlier"] = np.where(later_frozen, later, earlier)
    order = np.argsort(-pairs["jaccard"], kind="stable")
    order = order[~(later_frozen & earlier_frozen)[order]]
    return {name: column[order] for name, column in pairs.items()}


def _frozen_documents(workspace: Workspace) -> Keys:
    """The locations of documents in splits that the settings leave out; ascending."""
    found = [np.empty(0, np.uint64)]
    for part in range(len(workspace.parts)):
        with mapped(workspace.file("documents", part)) as (batch,):
            found.append(locations(part, np.flatnonzero(batch["frozen"].to_numpy(zero_copy_only=False))))
    return np.concatenate(found)


def _alarms_file(workspace: Workspace) -> Path:
    return workspace.folder / "removed" / "alarms.json"


def alarms(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """The sources that lost more than `alarm_removed_ratio` of their documents: (number lost, number in all)."""
    return {source: (lost, had) for source, (lost, had) in storage.read_json(_alarms_file(workspace)).items()}


def _count_losses(workspace: Workspace) -> dict[str, tuple[int, int]]:
    had: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for part in range(len(workspace.parts)):
        removed = fates(workspace, part).removed
        with mapped(workspace.file("documents", part)) as (batch,):
            sources = batch["source"].dictionary_encode()
        names, codes = sources.dictionary.to_pylist(), sources.indices.to_numpy()
        for counter, found in ((had, codes), (lost, codes[removed])):
            counter.update(dict(zip(names, np.bincount(found, minlength=len(names)).tolist(), strict=True)))
    limit = workspace.settings.alarm_removed_ratio
    return {
        source: (lost[source], count)
        for source, count in sorted(had.items())
        if count >= ALARM_MIN_DOCUMENTS and lost[source] > limit * count
    }


@dataclass(frozen=True)
class Fates:
    """For every document of a part: whether it is removed, the kept document that replaces it, and their similarity.

    `copy` is true if another copy of the text was compared instead of this one. `jaccard` is NaN unless the document is
    removed as a near duplicate.
    """

    removed: npt.NDArray[np.bool_]
    copy: npt.NDArray[np.bool_]
    kept: Keys
    jaccard: npt.NDArray[np.float64]


def fates(workspace: Workspace, part: int) -> Fates:
    with mapped(workspace.file("documents", part)) as (batch,):
        in_part = locations(part, batch["kept"].to_numpy())
        frozen = batch["frozen"].to_numpy(zero_copy_only=False)
    copies = read_range(workspace.files("copies"), COPIES, *part_range(part))
    order = np.argsort(copies["location"])
    elsewhere, place = lookup(copies["location"][order], in_part)
    stays = in_part.copy()
    stays[elsewhere] = copies["kept"][order][place[elsewhere]]
    own = locations(part, np.arange(len(stays)))
    copy = stays != own
    with mapped(workspace.file("removed", 0)) as (batch,):
        location, kept, similarity = (batch[name].to_numpy() for name in DUPLICATES.names)
        near, place = lookup(location, stays)
        stays[near] = kept[place[near]]
        jaccard = np.full(len(stays), np.nan)
        jaccard[near] = similarity[place[near]]
    return Fates((stays != own) & ~frozen, copy, stays, jaccard)


DECISION = pa.schema(
    [("rule", pa.string()), ("value", pa.float64()), ("evidence", pa.string())]
    + [(name, pa.float64()) for name in SIGNALS]
)
"""Columns that `decided` appends to the documents."""


def decided(workspace: Workspace, part: int) -> Iterator[pa.Table]:
    """The documents of a part in bounded batches, with one decision per document."""
    fate = fates(workspace, part)
    named = _names(workspace, distinct(fate.kept[fate.removed]))
    alarming = alarms(workspace)
    jaccard, num_shingles = _signals(workspace, part, ~fate.copy)
    begin = 0
    for batch in read_batches(workspace.parts[part], SCHEMA.names):
        here = slice(begin, begin + len(batch))
        rules: list[str | None] = [None] * len(batch)
        evidence: list[str | None] = [None] * len(batch)
        for row in np.flatnonzero(fate.removed[here]).tolist():
            rules[row] = EXACT if np.isnan(fate.jaccard[begin + row]) else NEAR
            evidence[row] = named[int(fate.kept[begin + row])]
            if loss := alarming.get(source := batch["source"][row].as_py()):
                evidence[row] = f"{evidence[row]} (source `{source}` loses {loss[0]} of {loss[1]} documents)"
        columns = (rules, fate.jaccard[here], evidence, jaccard[here], num_shingles[here])
        for field, column in zip(DECISION, columns, strict=True):
            batch = batch.append_column(field, pa.array(column, field.type, from_pandas=True))
        yield batch
        begin += len(batch)


def judge(batch: pa.Table, threshold: float) -> tuple[pa.Table, pa.Table]:
    """(the documents that stay, the ledger of all) for a batch from `decided`."""
    removed = pc.is_valid(batch["rule"])
    ledger = ledger_table(
        batch["id"],
        batch["url"],
        pc.if_else(removed, REMOVED, KEPT),
        rules=batch["rule"],
        values=batch["value"].to_numpy(),
        thresholds=pc.if_else(pc.is_valid(batch["value"]), threshold, None).to_numpy(),
        evidence=batch["evidence"],
        signals={name: batch[name].to_numpy() for name in SIGNALS},
    )
    return batch.select(SCHEMA.names).filter(pc.invert(removed)), ledger


def _names(workspace: Workspace, wanted: Keys) -> dict[int, str]:
    """Location -> id and URL of its document, in ascending order."""
    names: dict[int, str] = {}
    parts = parts_of(wanted)
    for begin, end in pairwise([*run_starts(parts).tolist(), len(parts)]):
        rows = pa.array(rows_of(wanted[begin:end]))
        with mapped(workspace.file("documents", int(parts[begin]))) as (batch,):
            ids, urls = batch["id"].take(rows).to_pylist(), batch["url"].take(rows).to_pylist()
        for location, identity, url in zip(wanted[begin:end].tolist(), ids, urls, strict=True):
            names[location] = f"{identity} {url}"
    return names


def _signals(
    workspace: Workspace, part: int, compared: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    jaccard, num_shingles = np.full((2, len(compared)), np.nan)
    if workspace.settings.fuzzy:
        pairs = read_range([workspace.file("verified", part)], VERIFIED)
        first = run_starts(pairs["later"])
        jaccard[rows_of(pairs["later"][first])] = pairs["jaccard"][first]
        with mapped(workspace.file("documents", part)) as (batch,):
            num_shingles[compared] = batch["size"].to_numpy()[compared]
    return jaccard, num_shingles
