"""A rule that removes more than half of a source is named, with the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bessemer.artifacts.ledger import ledger_table
from bessemer.artifacts.removals import Removal, heavy_in, heavy_removals, sentences


def tables(rows: Sequence[tuple[str, str | None]]) -> tuple[pa.Table, pa.Table]:
    """(ledger, documents) for pairs of source and the rule that removed the document."""
    ids = [str(number) for number in range(len(rows))]
    rules = [rule for _, rule in rows]
    verdicts = ["kept" if rule is None else "removed" for rule in rules]
    ledger = ledger_table(pa.array(ids), pa.array(ids), verdicts, rules=rules)
    return ledger, pa.table({"id": ids, "source": [source for source, _ in rows]})


def test_limits_of_one_rule_count_together() -> None:
    rows = [("a", "g/x"), ("a", "g/y"), ("a", "g/x"), ("a", None), ("a", "h/x"), ("b", "g/x"), *[("b", None)] * 5]
    assert heavy_in([tables(rows)]) == [Removal("g", "a", 3, 5)]


def test_half_is_not_more_than_half_and_small_sources_tell_nothing() -> None:
    assert heavy_in([tables([("a", "g/x"), ("a", None)] * 3)]) == []
    assert heavy_in([tables([("a", "g/x")] * 4)]) == []
    assert heavy_in([]) == []


def test_sources_are_counted_over_all_files_and_rows_in_any_order(tmp_path: Path) -> None:
    for name, rows in (("0", [("a", "g/x")] * 3), ("1", [("a", "g/x"), ("a", None), ("b", None)])):
        ledger, documents = tables(rows)
        for folder, table in (("ledger", ledger), ("data", documents.take([*range(len(rows))][::-1]))):
            (tmp_path / folder).mkdir(exist_ok=True)
            pq.write_table(table, tmp_path / folder / f"{name}.parquet")
    (found,) = heavy_removals(tmp_path / "ledger", tmp_path / "data")
    assert str(found) == "`g` removes 4 of 5 documents of `a`"
    assert heavy_removals(tmp_path / "nowhere", tmp_path / "data") == []


def test_few_are_named_and_the_others_counted() -> None:
    found = heavy_in([tables([(source, "g/x") for source in "abcdef" for _ in range(6)])])
    said = sentences(found)
    assert len(said) == 3
    assert said[-1].endswith("`c`; 3 more sources lose most documents to one rule")
    assert sentences([]) == []
