"""Finds rules that remove more than half of a source. The usual cause is a wrong limit, not bad documents.

A source is a value of the documents' column `source`: a host, a folder, a collection. The check reads only columns of a
few bytes per document, and at most the first `BUDGET_BYTES` of a large corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bessemer.artifacts.ledger import SURVIVING
from bessemer.artifacts.store import files_of

BUDGET_BYTES = 256 << 20
MIN_DOCUMENTS = 5
"""Sources with fewer documents are too small to judge a rule."""
_SHOWN = 3


class Removal(NamedTuple):
    """One rule that removes more than half of one source."""

    rule: str
    source: str
    removed: int
    total: int

    def __str__(self) -> str:
        return f"`{self.rule}` removes {self.removed} of {self.total} documents of `{self.source}`"


def heavy_removals(ledger: Path, documents: Path) -> list[Removal]:
    """Every rule of a finished stage that removes more than half of a source, most documents first.

    `documents` is the folder of the stage's input documents. Its files have the same names as those of the ledger.
    """
    return heavy_in(_pairs(ledger, documents))


def heavy_in(tables: Iterable[tuple[pa.Table, pa.Table]]) -> list[Removal]:
    """Like `heavy_removals`, for pairs of (ledger, input documents) with rows in any order."""
    totals: Counter[str] = Counter()
    removed: Counter[tuple[str, str]] = Counter()
    for verdicts, documents in tables:
        sources = documents["source"].take(pc.index_in(verdicts["id"], documents["id"].combine_chunks()))
        gone = pc.invert(pc.is_in(verdicts["verdict"], pa.array(SURVIVING)))
        rules = pc.list_element(pc.split_pattern(pc.fill_null(verdicts["rule"], "unknown"), "/"), 0)
        totals.update(_counts(sources))
        removed.update(_counts(rules.filter(gone), sources.filter(gone)))
    found = [
        Removal(rule, source, number, totals[source])
        for (rule, source), number in removed.items()
        if totals[source] >= MIN_DOCUMENTS and number * 2 > totals[source]
    ]
    return sorted(found, key=lambda one: (-one.removed, one.source, one.rule))


def sentences(found: list[Removal]) -> list[str]:
    """The first removals as sentences; the last one also says how many more there are."""
    said = [str(one) for one in found[:_SHOWN]]
    if more := found[_SHOWN:]:
        said[-1] += f"; {len(more)} more sources lose most documents to one rule"
    return said


def _counts(*columns: Any) -> dict[Any, int]:
    """The number of occurrences of each value, or of each combination of values."""
    names = [str(place) for place in range(len(columns))]
    groups = pa.table(dict(zip(names, columns, strict=True))).group_by(names).aggregate([([], "count_all")])
    keys = zip(*(groups[name].to_pylist() for name in names), strict=True)
    return {key if len(key) > 1 else key[0]: n for key, n in zip(keys, groups["count_all"].to_pylist(), strict=True)}


def _pairs(ledger: Path, documents: Path) -> Iterator[tuple[pa.Table, pa.Table]]:
    budget = BUDGET_BYTES
    parts = {part.name: part for part in files_of(documents)}
    for path in files_of(ledger):
        part = parts.get(path.name)
        if part is None or budget <= 0:
            continue
        if not {"id", "source"} <= set(pq.read_schema(part).names):
            continue
        budget -= path.stat().st_size
        yield (
            pq.read_table(path, columns=["id", "verdict", "rule"], use_threads=False),
            pq.read_table(part, columns=["id", "source"], use_threads=False),
        )
