"""Lets the documents of some splits pass through a stage unchanged.

A stage that removes or changes documents has a setting `splits`. Documents of other splits pass unchanged, so held-out
text is the same for all settings of the stage. Models trained with different settings are then measured on the same
text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

Process = Callable[["pa.Table"], tuple["pa.Table", "pa.Table"]]
"""Returns the kept documents and a ledger row per document, both in the order of the input."""


def process_splits(
    batch: pa.Table, splits: Sequence[str], signals: Sequence[str], process: Process
) -> tuple[pa.Table, pa.Table]:
    """Applies `process` to the documents of `splits`. Keeps the others, with null signals in the ledger."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.artifacts.ledger import KEPT, REMOVED, ledger_table

    chosen = pc.is_in(batch["split"], pa.array(splits, pa.string())).to_numpy()
    if chosen.all():
        return process(batch)
    documents, ledger = process(batch.filter(pa.array(chosen)))
    rest = batch.filter(pa.array(~chosen))
    columns = {name: np.full(len(rest), np.nan) for name in signals}
    kept = ledger_table(rest["id"], rest["url"], [KEPT] * len(rest), signals=columns)
    places, rest_places = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    stays = pc.not_equal(ledger["verdict"], REMOVED).to_numpy()
    return (
        pa.concat_tables([documents, rest.select(documents.column_names)]).take(
            np.argsort(np.concatenate([places[stays], rest_places]))
        ),
        pa.concat_tables([ledger, kept]).take(np.argsort(np.concatenate([places, rest_places]))),
    )
