"""Selects a few documents that each rule removed, with their text, so that a person can judge the rule.

The selection is reproducible: it takes the documents whose ids hash lowest. It reads only the first ledger and document
files, up to a fixed number of bytes, so a report takes seconds even for a large corpus.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bessemer.artifacts.ledger import SURVIVING
from bessemer.artifacts.store import files_of
from bessemer.fingerprint import unit_interval
from bessemer.report.privacy import masked

LEDGER_BYTES = 64 << 20
TEXT_BYTES = 256 << 20
CANDIDATES = 200
"""Number of rows per rule that are considered in each ledger file."""
EXCERPT = 360
_COLUMNS = ["id", "url", "verdict", "rule", "value", "threshold", "evidence"]


@dataclass(frozen=True)
class Example:
    """A removed document. `text` is the beginning of its text, or empty for a web page before extraction."""

    id: str
    url: str
    rule: str
    value: float | None
    threshold: float | None
    evidence: str
    text: str = ""


def examples(ledger: Path, documents: Iterable[Path], per_rule: int) -> dict[str, list[Example]]:
    """Up to `per_rule` examples of each rule. `documents` are the folders with the input documents of the stage."""
    chosen: dict[str, list[Example]] = {}
    for path in _within(files_of(ledger), LEDGER_BYTES):
        table = pq.read_table(path, columns=_COLUMNS, use_threads=False)
        gone = table.filter(pc.invert(pc.is_in(table["verdict"], pa.array(SURVIVING))))
        for rule in pc.unique(gone["rule"]).to_pylist():
            rows = gone.filter(pc.equal(gone["rule"], rule)) if rule else gone.filter(pc.is_null(gone["rule"]))
            found = chosen.setdefault(rule or "unknown", [])
            found += [_example(row) for row in rows.slice(0, CANDIDATES).to_pylist()]
            found.sort(key=lambda example: unit_interval(example.id))
            del found[per_rule:]
    texts = _texts(documents, {example.id for found in chosen.values() for example in found})
    return {rule: _masked([replace(e, text=texts.get(e.id, "")) for e in found]) for rule, found in chosen.items()}


def _example(row: dict[str, object]) -> Example:
    return Example(
        str(row["id"]),
        str(row["url"]),
        str(row["rule"] or "unknown"),
        row["value"],  # type: ignore[arg-type]
        row["threshold"],  # type: ignore[arg-type]
        str(row["evidence"] or ""),
    )


def _texts(folders: Iterable[Path], ids: set[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in _within((path for folder in folders for path in files_of(folder)), TEXT_BYTES):
        if len(texts) == len(ids):
            break
        if {"id", "text"} <= set(pq.read_schema(path).names):
            wanted = pc.field("id").isin(sorted(ids - texts.keys()))
            table = pq.read_table(path, columns=["id", "text"], filters=wanted, use_threads=False)
            texts |= dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    return texts


def _masked(found: list[Example]) -> list[Example]:
    """Masks personal data in examples, then cuts their texts; cutting first could leave half of an address unmasked."""
    parts = masked([part for e in found for part in (e.text[: 2 * EXCERPT], e.evidence, e.url)])
    return [
        replace(example, text=_cut(text), evidence=evidence, url=url)
        for example, text, evidence, url in zip(found, parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def _cut(text: str) -> str:
    text = re.sub(r"\s*\n\s*\n\s*", "\n", text).strip()
    return text if len(text) <= EXCERPT else text[:EXCERPT].rsplit(None, 1)[0] + " …"


def _within(paths: Iterable[Path], budget: int) -> Iterator[Path]:
    """Yields files until their total size reaches `budget` bytes, including the file that reaches it."""
    for path in paths:
        yield path
        budget -= path.stat().st_size
        if budget <= 0:
            return
