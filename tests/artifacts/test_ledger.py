"""Nothing is lost in silence: in + created = out + removed, or the run fails."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.artifacts.ledger import Counts, ledger_table
from bessemer.errors import CountMismatch

verdicts = st.lists(st.sampled_from(["kept", "changed", "removed", "crashed"]), max_size=20)


def ledger(found: list[str], created: bool = False) -> pa.Table:
    names = [f"d{i}" for i in range(len(found))]
    rules = [None if v in ("kept", "changed") else f"rule/{v}" for v in found]
    return ledger_table(names, names, found, rules=rules, created=created)


def surviving(found: list[str]) -> pa.Table:
    return pa.table({"text": pa.array(["x" for v in found if v in ("kept", "changed")], pa.string())})


def test_a_file_that_failed_is_counted_beside_the_documents() -> None:
    """In + created = out + removed is about documents; a failed file may hold any number of them."""
    counts = Counts.of(surviving(["kept"]), ledger(["kept", "removed", "failed", "failed"], created=True))
    assert (counts.created, counts.documents_out, counts.removed, counts.files_failed) == (2, 1, 1, 2)
    assert counts.removed_by_rule == {"rule/removed": 1}
    assert (counts + counts).files_failed == 4


@given(verdicts, st.booleans())
def test_counts_balance_for_every_mix_of_verdicts(found: list[str], created: bool) -> None:
    counts = Counts.of(surviving(found), ledger(found, created))
    assert counts.documents_in + counts.created == counts.documents_out + counts.removed == len(found)
    assert sum(counts.removed_by_rule.values()) == counts.removed
    assert counts.changed == found.count("changed")


@given(verdicts.filter(bool))
def test_one_document_more_or_less_is_an_error(found: list[str]) -> None:
    with pytest.raises(CountMismatch):
        Counts.of(surviving([*found, "kept"]), ledger(found))


@given(verdicts, verdicts)
def test_counts_of_parts_add_up_to_the_whole(left: list[str], right: list[str]) -> None:
    parts = Counts.of(surviving(left), ledger(left)) + Counts.of(surviving(right), ledger(right))
    assert parts == Counts.of(surviving(left + right), ledger(left + right))
