"""The ledger: the verdict of every data stage on every document, with the reason.

One row per document that entered the stage or was created there:

| column | meaning |
|---|---|
| `id`, `url` | the document |
| `verdict` | `kept`, `changed` (the text differs), `removed`, `crashed` (removed too), `failed` |
| `rule` | the rule that decided: `gopher_quality/mean_word_length`, `exact_duplicate`, ...; null if kept |
| `value`, `threshold` | the measurement and the limit that it broke, or null |
| `evidence` | a short text: the duplicate's id, the masked kinds, the offending line; null if none |
| `created` | true for documents that did not enter the stage (a reader's records, a repeated copy) |
| `signals` | struct of doubles: all measurements, for every verdict |

`Counts` checks that in + created = out + removed, for each unit of work and for the whole stage. A row with the verdict
`failed` describes a file that could not be read to its end. Such files are counted separately (`files_failed`), because
the number of their documents is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bessemer.errors import CountMismatch

KEPT, CHANGED, REMOVED, CRASHED = "kept", "changed", "removed", "crashed"
FAILED = "failed"
SURVIVING = (KEPT, CHANGED)


class Removed(Exception):
    """Raised if a rule removes one page, record or row. The stage catches it and writes it to the ledger."""

    def __init__(
        self, rule: str, evidence: str | None = None, *, value: float | None = None, threshold: float | None = None
    ) -> None:
        super().__init__(rule)
        self.rule, self.evidence, self.value, self.threshold = rule, evidence, value, threshold


def ledger_schema(signals: Sequence[str] = ()) -> pa.Schema:
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("rule", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("threshold", pa.float64()),
        pa.field("evidence", pa.string()),
        pa.field("created", pa.bool_(), nullable=False),
    ]
    if signals:
        fields.append(pa.field("signals", pa.struct([(name, pa.float64()) for name in signals])))
    return pa.schema(fields)


def ledger_table(
    ids: Any,
    urls: Any,
    verdicts: Any,
    *,
    rules: Any = None,
    values: Any = None,
    thresholds: Any = None,
    evidence: Any = None,
    created: bool = False,
    signals: Mapping[str, Any] | None = None,
) -> pa.Table:
    """A ledger from columns of equal length: lists, numpy or pyarrow arrays. Missing ones are null.

    `values` and `thresholds` hold NaN or None for documents without a number; `signals` maps names to columns.
    """
    n = len(ids)
    signals = signals or {}

    def doubles(column: Any) -> pa.Array:
        if column is None:
            return pa.nulls(n, pa.float64())
        if isinstance(column, list):
            return pa.array(column, pa.float64(), from_pandas=True)
        return pa.array(np.asarray(column, dtype=np.float64), from_pandas=True)

    def strings(column: Any) -> pa.Array:
        if column is None:
            return pa.nulls(n, pa.string())
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        return column.cast(pa.string()) if isinstance(column, pa.Array) else pa.array(column, pa.string())

    arrays = [strings(ids), strings(urls), strings(verdicts), strings(rules), doubles(values)]
    arrays += [doubles(thresholds), strings(evidence), pa.array(np.full(n, created))]
    schema = ledger_schema(list(signals))
    if signals:
        arrays.append(
            pa.StructArray.from_arrays(
                [doubles(c) for c in signals.values()], fields=list(schema.field("signals").type)
            )
        )
    return pa.Table.from_arrays(arrays, schema=schema)


@dataclass(frozen=True)
class Counts:
    """Numbers of documents in, created, out and removed (by rule), and of failed files."""

    documents_in: int = 0
    created: int = 0
    documents_out: int = 0
    removed: int = 0
    changed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    removed_by_rule: dict[str, int] = field(default_factory=dict)
    files_failed: int = 0

    @staticmethod
    def of(documents: pa.Table, ledger: pa.Table, *, bytes_in: int = 0) -> Counts:
        """Counts of one unit of work from its two tables. Raises CountMismatch if they disagree."""
        failed = pc.equal(ledger["verdict"], FAILED)
        files_failed = pc.sum(failed.cast(pa.int64())).as_py() or 0
        ledger = ledger.filter(pc.invert(failed)) if files_failed else ledger
        verdicts = ledger["verdict"]
        surviving = pc.is_in(verdicts, pa.array(SURVIVING))
        created = pc.sum(ledger["created"].cast(pa.int64())).as_py() or 0
        gone = ledger.filter(pc.invert(surviving))
        by_rule = gone.group_by("rule").aggregate([("id", "count")]).to_pydict() if len(gone) else {}
        counts = Counts(
            documents_in=len(ledger) - created,
            created=created,
            documents_out=len(documents),
            removed=len(gone),
            changed=pc.sum(pc.equal(verdicts, CHANGED).cast(pa.int64())).as_py() or 0,
            bytes_in=bytes_in,
            bytes_out=pc.sum(pc.binary_length(documents["text"])).as_py() or 0
            if "text" in documents.column_names
            else 0,
            removed_by_rule=dict(sorted(zip(by_rule.get("rule", []), by_rule.get("id_count", []), strict=True))),
            files_failed=files_failed,
        )
        counts.check()
        return counts

    def check(self) -> None:
        if self.documents_in + self.created != self.documents_out + self.removed:
            raise CountMismatch(
                f"documents went missing: {self.documents_in} in + {self.created} created is not "
                f"{self.documents_out} out + {self.removed} removed",
                hint="this is a defect of the stage; run again with `--rerun` and report it",
            )

    def __add__(self, other: Counts) -> Counts:
        rules = {
            rule: self.removed_by_rule.get(rule, 0) + other.removed_by_rule.get(rule, 0)
            for rule in sorted({*self.removed_by_rule, *other.removed_by_rule})
        }
        return Counts(
            self.documents_in + other.documents_in,
            self.created + other.created,
            self.documents_out + other.documents_out,
            self.removed + other.removed,
            self.changed + other.changed,
            self.bytes_in + other.bytes_in,
            self.bytes_out + other.bytes_out,
            rules,
            self.files_failed + other.files_failed,
        )
