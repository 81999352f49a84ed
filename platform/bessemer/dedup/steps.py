"""Deduplicates a corpus larger than the memory of a process, in steps of bounded units of work.

| step | a unit is | reads | writes |
|---|---|---|---|
| `documents` | an input part | its texts | id, URL, source and bands of each document; the hashes of its texts |
| `copies` | a range of hashes | those hashes | the exact copies, with the copy that stays |
| `bands` | an input part | its bands | the buckets of the documents that are not copies |
| `pairs` | a range of buckets | those buckets | the pairs to verify, and the documents in them |
| `shingles` | an input part | its texts | two shingle sets of each document in pairs: with and without numbers |
| `verified` | an input part | its pairs, their sets | the measured Jaccard similarity of each pair |
| `removed` | everything | pairs at or above the threshold | the near duplicates to remove, and their replacements |

`verdicts` then reads the parts again and writes the documents that stay. A unit reads only files of earlier steps and
writes each of its files atomically. So any number of processes can do the units of a step, in any order, and repeat
them after a crash. The result depends only on the documents. It does not depend on their distribution over parts or on
the number of ranges.

If duplicates are in different splits, one of them survives in its own split, so no text is both in training and in
held-out documents. The setting `splits` decides which one: documents of the other splits are frozen. They all stay, and
their duplicates in `splits` are removed. With all splits (the default), no split has priority.

Memory of a process:

- A unit of a part holds a few batches of its texts and about 1 kB per document.
- A range holds four times PARTITION_BYTES, or its largest bucket (28 bytes per document).
- `verified` holds the sets of two documents, and at most num_bands * max_candidates pairs per document, 24 bytes each.
- Only `removed` holds data of the whole corpus: the duplicate pairs (64 bytes each at the peak), then the near
  duplicates (24 bytes each).

Disk: 0.8 kB per document with the default bands, and 16 bytes per word of the documents in pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from bessemer.dedup.copies import HASHES, find_copies, index_documents
from bessemer.dedup.exchange import Workspace
from bessemer.dedup.pairs import BANDS, propose_pairs, verify_pairs, write_bands, write_shingles
from bessemer.dedup.verdicts import decide

PARTITION_BYTES = 64 << 20

Receipt = dict[str, int]


@dataclass(frozen=True)
class Step:
    """One step. `work(workspace, number, of)` does unit `number` and returns its counts."""

    name: str
    work: Callable[[Workspace, int, int], Receipt]
    rows: tuple[str, pa.Schema] | None = None
    """(name of the count of rows, their schema) if a unit is a range of rows; None if a unit is a part."""
    whole: bool = False
    """Whether the step has a single unit, the corpus."""

    def num_units(self, workspace: Workspace, counted: Receipt) -> int:
        if self.rows:
            count, schema = self.rows
            width = sum(field.type.bit_width // 8 for field in schema)
            return 1 + int(counted.get(count, 0) * width // PARTITION_BYTES)
        return 1 if self.whole else len(workspace.parts)


EXACT = (
    Step("documents", index_documents),
    Step("copies", find_copies, rows=("num_texts", HASHES)),
)
NEAR = (
    Step("bands", write_bands),
    Step("pairs", propose_pairs, rows=("num_band_rows", BANDS)),
    Step("shingles", write_shingles),
    Step("verified", verify_pairs),
)
DECISION = Step("removed", decide, whole=True)


def run_steps(workspace: Workspace, run: Callable[[Step, int], Sequence[Receipt]]) -> Receipt:
    """Calls `run(step, num_units)` for each step in order, to do all units of the step; returns the sums of all
    counts."""
    counted: Receipt = {}
    for step in (*EXACT, *(NEAR if workspace.settings.fuzzy else ()), DECISION):
        for receipt in run(step, step.num_units(workspace, counted)):
            for name, value in receipt.items():
                before = counted.get(name, 0)
                counted[name] = max(before, value) if name.startswith("largest_") else before + value
    return counted
