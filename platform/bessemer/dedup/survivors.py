"""Which documents stay, given the pairs that were verified.

Documents are visited longest first, then by id, and each is kept unless it was verified against one already kept. So
every removed document resembles a kept one directly (no chains), and of every group at least one stays. Taking each
connected component by itself or all documents at once is the same, since no pair leaves its component; so components
are never built.

Nor is the order needed: every pair says which of the two comes first. A document whose earlier look-alikes are all
decided is decided; all of these at once are one round of array operations. The number of rounds is the longest chain
of open decisions, in practice below ten.

Memory: 64 bytes a verified pair at the peak, in one process; 100 million of them are 6.4 GB.
"""

from __future__ import annotations

import numpy as np

from bessemer.dedup.arrays import Keys, distinct

_OPEN, _KEPT, _REMOVED = 0, 1, 2


def removed_documents(later: Keys, earlier: Keys) -> Keys:
    """The documents to remove, ascending, given verified pairs of which `earlier` is visited first."""
    documents = distinct(np.concatenate((later, earlier)))
    tail, head = np.searchsorted(documents, later), np.searchsorted(documents, earlier)
    state = np.full(len(documents), _OPEN, np.uint8)
    undecided = np.arange(len(documents))
    while len(undecided):
        waiting = np.zeros(len(documents), np.bool_)
        waiting[tail] = True
        state[undecided[~waiting[undecided]]] = _KEPT
        state[tail[state[head] == _KEPT]] = _REMOVED
        still = (state[tail] == _OPEN) & (state[head] == _OPEN)
        tail, head = tail[still], head[still]
        undecided = undecided[state[undecided] == _OPEN]
    removed: Keys = documents[state == _REMOVED]
    return removed
