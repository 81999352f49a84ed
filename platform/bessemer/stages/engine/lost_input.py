"""Warns of lost input: files that could not be read, and values that could not be converted.

The ledger has the details. Each unreadable file has a row with the verdict `failed`. Each document with lost values has
the signal `unconverted_values`, and its evidence names the fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.stages.base import Context, Draft

if TYPE_CHECKING:
    import pyarrow as pa

NAMED = 5
"""Maximum number of failed files that a warning names."""


def report_losses(draft: Draft, context: Context) -> None:
    """Sets `data/files_failed` and `data/unconverted_values`, and logs a warning for each that is not zero.

    Reads three columns of the ledger, part by part.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from bessemer.artifacts.ledger import FAILED
    from bessemer.storage import files_under

    assert draft.counts is not None
    failed: list[dict[str, Any]] = []
    values = documents = 0
    example: dict[str, Any] | None = None
    for part in files_under(draft.ledger):
        table = pq.read_table(part, columns=["url", "verdict", "evidence", "signals"], use_threads=False)
        if draft.counts.files_failed:
            rows = table.filter(pc.equal(table["verdict"], FAILED)).select(["url", "evidence"])
            failed += rows.slice(0, NAMED - len(failed)).to_pylist()
        lost = _signal(table, "unconverted_values")
        if lost is not None and (count := pc.sum(lost).as_py()):
            values += int(count)
            rows = table.filter(pc.greater(lost, 0))
            documents += len(rows)
            example = example or rows.select(["url", "evidence"]).slice(0, 1).to_pylist()[0]
    draft.metrics["data/files_failed"] = draft.counts.files_failed
    draft.metrics["data/unconverted_values"] = values
    if failed:
        listed = "; ".join(f"{row['url'].removeprefix('file:')} ({row['evidence']})" for row in failed)
        more = f"; and {draft.counts.files_failed - len(failed)} more" if draft.counts.files_failed > NAMED else ""
        number = "1 file" if draft.counts.files_failed == 1 else f"{draft.counts.files_failed} files"
        context.log.warning("%s could not be read completely: %s%s", number, listed, more)
    if example:
        context.log.warning(
            "%d values in %d documents could not be converted and are null; the first is in %s (%s)",
            values,
            documents,
            example["url"],
            example["evidence"],
        )


def _signal(table: pa.Table, name: str) -> Any:
    import pyarrow.compute as pc

    kind = table.schema.field("signals").type
    return pc.struct_field(table["signals"], name) if kind.get_field_index(name) >= 0 else None
