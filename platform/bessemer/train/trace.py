"""From a training step to its documents, and from a document to its steps.

Nothing is recorded for this: which rows form a step is a function of the plan, so it is computed again.
"""

from __future__ import annotations

import numpy as np

from bessemer.tokens.store import TokenStore
from bessemer.train.objectives.windows import TrainingWindows
from bessemer.train.sampler import Sampler


def documents_of_step(store: TokenStore, *, step: int, batch_size: int, length: int, seed: int) -> list[str]:
    """The ids of the documents that step `step` was trained on."""
    windows = TrainingWindows(store, "train", length, seed)
    return windows.documents(Sampler(windows.num_rows, batch_size, seed).rows(step))


def steps_of_document(
    store: TokenStore, document: str, *, num_steps: int, batch_size: int, length: int, seed: int
) -> list[int]:
    """The steps up to `num_steps` whose rows held tokens of `document`; none if the split `train` lacks it."""
    windows = TrainingWindows(store, "train", length, seed)
    sampler = Sampler(windows.num_rows, batch_size, seed)
    found: set[int] = set()
    for table in store.iter_rows("train"):
        for place in np.flatnonzero(table["id"].to_numpy() == document):
            start, count = table["start"][place].as_py(), table["length"][place].as_py()
            for epoch in range(-(-num_steps * batch_size // windows.num_rows)):
                found.update(sampler.steps_of(windows.rows_holding(epoch, start, count)).tolist())
    return sorted(step for step in found if step <= num_steps)
