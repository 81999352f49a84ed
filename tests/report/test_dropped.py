"""Tests of the examples of removed documents: few per rule, the same every time, without personal data."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.artifacts.ledger import CRASHED, KEPT, REMOVED, ledger_table
from bessemer.report import dropped
from bessemer.report.dropped import examples

PERSON = "mail jane.doe@example.com"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two parts with ids 0..9 and 10..19. Even ids are kept, odd ids are removed by `short`, id 19 crashed."""
    for part in range(2):
        numbers = range(part * 10, part * 10 + 10)
        verdicts = [CRASHED if n == 19 else REMOVED if n % 2 else KEPT for n in numbers]
        ledger = ledger_table(
            [str(n) for n in numbers],
            [f"file:{n}" for n in numbers],
            verdicts,
            rules=[{KEPT: None, REMOVED: "short", CRASHED: "crashed"}[v] for v in verdicts],
            values=[3.0 if v == REMOVED else None for v in verdicts],
            thresholds=[50.0 if v == REMOVED else None for v in verdicts],
            evidence=[PERSON if n % 2 else None for n in numbers],
        )
        texts = {"id": [str(n) for n in numbers], "text": [f"{PERSON} {n} " + "word " * 300 for n in numbers]}
        for name, table in (("ledger", ledger), ("documents", pa.table(texts))):
            (tmp_path / name).mkdir(exist_ok=True)
            pq.write_table(table, tmp_path / name / f"{part:05d}.parquet")
    return tmp_path / "ledger", tmp_path / "documents"


def test_a_few_of_each_rule_with_their_texts_and_without_personal_data(folders: tuple[Path, Path]) -> None:
    ledger, documents = folders
    found = examples(ledger, [documents], 3)
    assert {rule: len(some) for rule, some in found.items()} == {"short": 3, "crashed": 1}
    for example in found["short"]:
        assert int(example.id) % 2
        assert (example.value, example.threshold) == (3.0, 50.0)
        assert example.text.startswith(f"mail <EMAIL> {example.id} word")
        assert example.text.endswith(" …")
        assert example.evidence == "mail <EMAIL>"
    assert found == examples(ledger, [documents], 3)


def test_the_work_is_bounded(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, documents = folders
    monkeypatch.setattr(dropped, "LEDGER_BYTES", 1)
    monkeypatch.setattr(dropped, "TEXT_BYTES", 1)
    found = examples(ledger, [documents], 10)
    assert {int(example.id) for example in found["short"]} == {1, 3, 5, 7, 9}, "only the first ledger was read"


def test_pages_have_no_text_and_missing_folders_no_examples(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert all(example.text == "" for example in examples(folders[0], [tmp_path / "pages"], 2)["short"])
    assert examples(tmp_path / "absent", [], 2) == {}
