"""Records: the units that readers find in files and archives, before they become documents or are removed.

A reader never drops input silently. Input that it cannot read becomes a record with the `rule` that removes it.
`documents_of` turns a table of records into documents and verdicts. It handles each row independently, so the result
does not depend on how the rows are grouped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

import pyarrow as pa

from bessemer.artifacts.documents import SCHEMA, assign_split
from bessemer.artifacts.ledger import FAILED, KEPT, REMOVED, Removed, ledger_table
from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.page import Extracted, extract_page, extract_text, extract_unicode
from bessemer.extract.plain import well_formed
from bessemer.extract.settings import TextSettings
from bessemer.extract.split import group_of
from bessemer.extract.verdict import FILE_RULES
from bessemer.fingerprint import content_hash

SIGNALS = ("content_bytes", "html_nodes", "text_characters", "unconverted_values")
BATCH_BYTES = 8 << 20
BATCH_RECORDS = 512

RECORDS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("content", pa.large_binary()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("license", pa.string()),
        pa.field("language", pa.string()),
        pa.field("media_type", pa.string(), nullable=False),
        pa.field("charset", pa.string()),
        pa.field("status", pa.int16()),
        pa.field("fetched_at", pa.timestamp("ms", tz="UTC")),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("rule", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("threshold", pa.float64()),
        pa.field("evidence", pa.string()),
        pa.field("unconverted", pa.int64(), nullable=False),
    ]
)
assert RECORDS.names == [field.name for field in fields(ExtractedRecord)]


def record_tables(records: Iterable[ExtractedRecord]) -> Iterator[pa.Table]:
    """Groups records into tables of about `BATCH_BYTES`, each with at least one record."""
    batch: list[ExtractedRecord] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.content or b"")
        if size >= BATCH_BYTES or len(batch) >= BATCH_RECORDS:
            yield record_table(batch)
            batch, size = [], 0
    if batch:
        yield record_table(batch)


def record_table(records: list[ExtractedRecord]) -> pa.Table:
    columns = [[getattr(record, name) for record in records] for name in RECORDS.names]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, RECORDS, strict=True)], schema=RECORDS
    )


def documents_of(
    records: pa.Table, settings: TextSettings, *, created: bool, strip_gutenberg: bool = False
) -> tuple[pa.Table, pa.Table]:
    """Returns (documents, ledger) of a table of records. Every record becomes a document or has a rule that removes
    it."""
    documents: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    ledger: dict[str, list[Any]] = {name: [] for name in ("verdict", "rule", "value", "threshold", "evidence")}
    signals: dict[str, list[float | None]] = {name: [] for name in SIGNALS}
    for row in records.to_pylist():
        extracted, refused = Extracted(""), None
        try:
            extracted = _extract(row, settings, strip_gutenberg)
        except Removed as reason:
            refused = reason
        else:
            for name, value in _document(row, extracted, settings).items():
                documents[name].append(value)
        ledger["verdict"].append(verdict_of(refused.rule if refused else None))
        for name in ("rule", "value", "threshold"):
            ledger[name].append(getattr(refused, name) if refused else None)
        ledger["evidence"].append(refused.evidence if refused else row["evidence"])
        signals["content_bytes"].append(None if row["content"] is None else len(row["content"]))
        signals["html_nodes"].append(extracted.html_nodes)
        signals["text_characters"].append(None if refused else len(extracted.text))
        signals["unconverted_values"].append(row["unconverted"] or None)
    return (
        pa.Table.from_pydict(documents, schema=SCHEMA),
        ledger_table(
            records["id"],
            records["url"],
            ledger["verdict"],
            rules=ledger["rule"],
            values=ledger["value"],
            thresholds=ledger["threshold"],
            evidence=ledger["evidence"],
            created=created,
            signals=signals,
        ),
    )


def verdict_of(rule: str | None) -> str:
    """The ledger's verdict: `failed` if the rule is about a whole file."""
    if rule is None:
        return KEPT
    return FAILED if rule in FILE_RULES else REMOVED


def _extract(row: dict[str, Any], settings: TextSettings, strip_gutenberg: bool) -> Extracted:
    if row["rule"]:
        raise Removed(row["rule"], evidence=row["evidence"], value=row["value"], threshold=row["threshold"])
    if row["status"] is not None and not 200 <= row["status"] < 300:
        raise Removed("http_status", value=row["status"], threshold=299)
    if row["url"].endswith("/robots.txt"):
        raise Removed("robots_txt")
    if row["kind"] == "unicode":
        return extract_unicode(row["content"].decode("utf-8", "surrogatepass"), strip_gutenberg=strip_gutenberg)
    if row["kind"] == "text":
        return extract_text(row["content"], row["charset"], strip_gutenberg=strip_gutenberg)
    return extract_page(row["content"], row["media_type"], row["charset"], row["url"], settings)


def _document(row: dict[str, Any], extracted: Extracted, settings: TextSettings) -> dict[str, Any]:
    stated = dict(extracted.metadata)
    license_stated = stated.pop("license", None)
    return {
        "id": row["id"],
        "text": extracted.text,
        "content_hash": content_hash(extracted.text),
        "url": row["url"],
        "source": row["source"],
        "license": row["license"] or license_stated or settings.license,
        "language": row["language"],
        "split": assign_split(group_of(row["url"], settings.split_by), settings.split.shares()),
        "fetched_at": row["fetched_at"],
        "metadata": well_formed(json.dumps(json.loads(row["metadata"]) | stated, sort_keys=True, ensure_ascii=False)),
    }
