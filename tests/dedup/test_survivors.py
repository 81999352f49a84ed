"""The rounds of array operations remove what the plain visit, longest first, removes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.dedup.survivors import removed_documents


def plain_removed(pairs: list[tuple[int, int]]) -> list[int]:
    """Visit documents in order (here: by number); keep each unless it is paired with a kept one."""
    kept: set[int] = set()
    for document in sorted({document for pair in pairs for document in pair}):
        if not any((document, earlier) in pairs for earlier in kept):
            kept.add(document)
    return sorted({document for pair in pairs for document in pair} - kept)


def rounds(pairs: list[tuple[int, int]]) -> list[int]:
    later, earlier = (np.array([pair[i] for pair in pairs], np.uint64) for i in (0, 1))
    return removed_documents(later, earlier).tolist()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)).filter(lambda pair: pair[0] > pair[1]), unique=True))
def test_rounds_are_the_plain_visit(pairs: list[tuple[int, int]]) -> None:
    assert rounds(pairs) == plain_removed(pairs)


@pytest.mark.parametrize("length", [2, 3, 500])
def test_a_chain_loses_every_other_document(length: int) -> None:
    """Transitive closure would leave one of 500; here each removed document resembles a kept one."""
    assert rounds([(place + 1, place) for place in range(length - 1)]) == list(range(1, length, 2))
