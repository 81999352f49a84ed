"""The verdicts of a run's stages on one document, from their ledgers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bessemer import storage
from bessemer.artifacts.ledger import SURVIVING
from bessemer.artifacts.store import files_of
from bessemer.crawl.urls import canonical_url
from bessemer.errors import UsageError
from bessemer.fingerprint import unit_interval
from bessemer.recipe.problems import nearest
from bessemer.runner.runs import Run


@dataclass(frozen=True)
class Chapter:
    """The verdict of one stage on one document."""

    stage: str
    verdict: str
    rule: str | None
    value: float | None
    threshold: float | None
    evidence: str | None
    id: str
    url: str
    signals: dict[str, float]


def tell(run: Run, url_or_id: str) -> list[Chapter]:
    """Every verdict of a run on the documents with this URL or id, in the order of the stages.

    A URL may lack its scheme, as browsers show it. A document that was split from a page, or whose id is known only
    further down, is found by its URL and its id.
    """
    return _tell(run, {url_or_id}) or _tell(run, set(possible_urls(url_or_id)))


def possible_urls(text: str) -> Iterator[str]:
    """The URLs that a person can mean by `library.test/os`: with a scheme, with a final slash, in canonical form."""
    for prefix in ("",) if "://" in text else ("https://", "http://", "file:"):
        for ending in ("", "/"):
            url = f"{prefix}{text}{ending}"
            yield url
            if "://" in url and (canonical := canonical_url(url)):
                yield canonical


def _tell(run: Run, keys: set[str]) -> list[Chapter]:
    chapters: list[Chapter] = []
    for name in run.stages():
        for ledger in _ledgers(run, name):
            table = pq.read_table(ledger, use_threads=False)
            wanted = pa.array(sorted(keys))
            rows = table.filter(pc.or_(pc.is_in(table["id"], wanted), pc.is_in(table["url"], wanted)))
            for row in rows.to_pylist():
                keys.add(row["id"])
                chapters.append(_chapter(name, row))
    return chapters


def dropped(run: Run, stage: str, rule: str | None, sample: int) -> Iterator[tuple[Chapter, str]]:
    """A repeatable sample of the documents that a stage removed (by `rule`, if given), each with the text that it had.

    Raises UsageError if the stage keeps no ledger, or if `rule` removed nothing and other rules did.
    """
    ledgers = _ledgers(run, stage)
    if not ledgers:
        keeping = [f"`{name}`" for name in run.stages() if _ledgers(run, name)]
        raise UsageError(
            f"`{stage}` has no verdicts about documents",
            hint=f"stages with verdicts: {', '.join(keeping)}" if keeping else f"bessemer status {run.name}",
        )
    found = []
    removing: set[str] = set()
    for ledger in ledgers:
        table = pq.read_table(ledger, use_threads=False)
        table = table.filter(pc.invert(pc.is_in(table["verdict"], pa.array(SURVIVING))))
        if rule:
            rules = pc.fill_null(table["rule"], "")
            for name in pc.unique(rules).to_pylist():
                removing |= {name, name.partition("/")[0]}
            table = table.filter(pc.or_(pc.equal(rules, rule), pc.starts_with(rules, rule + "/")))
        found += [_chapter(stage, row) for row in table.to_pylist()]
    if rule and not found and removing - {""}:
        raise UsageError(f"no document was removed by `{rule}` in `{stage}`", hint=nearest(rule, removing - {""}))
    found.sort(key=lambda chapter: unit_interval(chapter.id))
    chosen = found[:sample]
    texts = _texts_before(run, stage, {chapter.id for chapter in chosen})
    for chapter in chosen:
        yield chapter, texts.get(chapter.id, "")


def kept(run: Run, stage: str, sample: int) -> Iterator[dict[str, Any]]:
    """A repeatable sample of the rows that a stage put out."""
    rows: list[dict[str, Any]] = []
    for part in files_of(run.artifact_folder(stage) / "data"):
        table = pq.read_table(part, use_threads=False)
        key = "id" if "id" in table.column_names else table.column_names[0]
        points = pa.array([unit_interval(str(value)) for value in table[key].to_pylist()], pa.float64())
        chosen = pc.select_k_unstable(pa.table({"p": points}), sample, [("p", "ascending")]) if len(table) else []
        rows += [{**table.slice(i.as_py(), 1).to_pylist()[0], "_p": points[i.as_py()].as_py()} for i in chosen]
    rows.sort(key=lambda row: row["_p"])
    for row in rows[:sample]:
        row.pop("_p")
        yield row


def removed_by_rule(run: Run, stage: str) -> dict[str, int]:
    """How many documents each rule of a stage removed."""
    manifest = storage.read_json(run.artifact_folder(stage) / "manifest.json") or {}
    counts = manifest.get("counts") or {}
    return dict(counts.get("removed_by_rule", {}))


def abstentions(run: Run, stage: str) -> dict[str, dict[str, int]]:
    """By rule and language, the documents that stay although the rule skips limits in their language."""
    manifest = storage.read_json(run.artifact_folder(stage) / "manifest.json") or {}
    found: dict[str, dict[str, int]] = (manifest.get("resolved") or {}).get("abstentions", {})
    return found


def _texts_before(run: Run, stage: str, ids: set[str]) -> dict[str, str]:
    """The texts of documents as they were when they entered `stage`."""
    planned = next(p for p in run.plan()["stages"] if p["name"] == stage)
    texts: dict[str, str] = {}
    if not ids:
        return texts
    for kind, source in planned["inputs"].items():
        if kind != "documents":
            continue
        for part in files_of(run.artifact_folder(source) / "data"):
            table = pq.read_table(part, columns=["id", "text"], use_threads=False, filters=[("id", "in", sorted(ids))])
            texts |= dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    return texts


def _ledgers(run: Run, stage: str) -> list[Path]:
    return files_of(run.artifact_folder(stage) / "ledger")


def _chapter(stage: str, row: dict[str, Any]) -> Chapter:
    signals = row.get("signals") or {}
    return Chapter(
        stage,
        row["verdict"],
        row["rule"],
        row["value"],
        row["threshold"],
        row["evidence"],
        row["id"],
        row["url"],
        {name: value for name, value in signals.items() if value is not None},
    )
