"""De-duplication of tables in memory, by the same steps over files that the stage takes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.dedup import steps
from bessemer.dedup.exchange import Workspace
from bessemer.dedup.settings import DedupSettings
from bessemer.dedup.verdicts import alarms, decided, judge
from bessemer.fingerprint import content_hash, origin_id


@dataclass(frozen=True)
class Outcome:
    documents: pa.Table
    ledger: pa.Table
    counted: dict[str, int]
    alarms: dict[str, tuple[int, int]]

    @property
    def urls(self) -> list[str]:
        return self.documents["url"].to_pylist()

    @property
    def verdicts(self) -> dict[str, dict[str, Any]]:
        return {row["url"]: row for row in self.ledger.to_pylist()}


def documents_of(texts: dict[str, str], source: str = "test") -> pa.Table:
    """A documents table of URL -> text; a document's id comes from its URL."""
    rows = [
        {
            "id": origin_id(url),
            "text": text,
            "content_hash": content_hash(text),
            "url": url,
            "source": source,
            "split": "train",
            "metadata": "{}",
        }
        for url, text in texts.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def deduplicated(parts: Sequence[pa.Table], settings: DedupSettings) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # waiting for the disk takes longer than the work
        return _deduplicated(parts, settings)


def _deduplicated(parts: Sequence[pa.Table], settings: DedupSettings) -> Outcome:
    folder = Path(tempfile.mkdtemp())
    try:
        for number, part in enumerate(parts):
            write_parquet(part, folder / "input" / f"{number:05d}.parquet")
        files = tuple(sorted((folder / "input").iterdir()))
        workspace = Workspace(folder / "work", files, settings)

        def run(step: steps.Step, num_units: int) -> list[dict[str, int]]:
            return [step.work(workspace, number, num_units) for number in range(num_units)]

        counted = steps.run_steps(workspace, run)
        tables = [judge(batch, settings.threshold) for part in range(len(parts)) for batch in decided(workspace, part)]
        found = [SCHEMA.empty_table(), *(documents for documents, _ in tables)]
        ledger = pa.concat_tables([ledger for _, ledger in tables])
        return Outcome(pa.concat_tables(found), ledger, counted, alarms(workspace))
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_documents() -> Callable[..., pa.Table]:
    return documents_of


@pytest.fixture(scope="session")
def deduplicate() -> Callable[..., Outcome]:
    """`deduplicate([table, ...], **settings)` runs all steps and returns what stays, the ledger and the counts."""

    def run(parts: Sequence[pa.Table], **settings: Any) -> Outcome:
        return deduplicated(parts, DedupSettings(**settings))

    return run
