"""Displays the content of a stage's artifact, for `bessemer show`.

Documents, pages, tokens and questions are shown as a repeatable sample of rows. Conversations and preferences are shown
as dialogues. Scores, the errors of a classifier and the points of a scaling law are shown as whole tables. For any
other artifact, the metrics, the resolved settings and the files are shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bessemer import storage
from bessemer.artifacts.manifest import Manifest
from bessemer.artifacts.store import files_of
from bessemer.errors import UsageError
from bessemer.fingerprint import unit_interval
from bessemer.formatting import format_bytes, format_number
from bessemer.runner.explain import kept
from bessemer.runner.runs import Run

TABLES = {"scores": "scores.parquet", "classifier": "errors.parquet", "scaling_law": "points.json"}
"""The file with the table, for each kind of artifact that is shown as a whole table."""
TOKEN_COLUMNS = {"ids", "learned", "prompt_ids", "chosen_ids", "rejected_ids"}


@dataclass(frozen=True)
class ViewItem:
    """One row: its short facts, and its text if it has one."""

    facts: dict[str, Any]
    text: str = ""


@dataclass(frozen=True)
class View:
    """Items, or a table with these column names."""

    items: list[ViewItem] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    raw: Any = None
    """The same as JSON values."""


def view(run: Run, stage: str, sample: int) -> View:
    """The content of the artifact of `stage`; rows are at most `sample`. Raises UsageError if there is none."""
    folder = run.artifact_folder(stage)
    produces = next(str(planned["produces"]) for planned in run.plan()["stages"] if planned["name"] == stage)
    if produces in TABLES and (folder / "data" / TABLES[produces]).exists():
        return _table(_read(folder / "data" / TABLES[produces]))
    if produces not in TABLES:
        rows = list(kept(run, stage, sample)) or _json_lines(folder, sample)
        if rows:
            return View([_item(row) for row in rows], raw=[_plain(row) for row in rows])
    manifest = Manifest.read(folder)
    if manifest is None:
        raise UsageError(
            f"`{stage}` of `{run.name}` has no artifact to show",
            hint=f"it is not finished, or `bessemer gc` deleted it: bessemer status {run.name}",
        )
    return _description(folder, manifest)


def dialogue(messages: Iterable[Mapping[str, Any]]) -> str:
    """`user: ...` and `assistant: ...`, one paragraph per message; further fields of a message follow its text."""
    paragraphs = []
    for message in messages:
        role = message.get("role") or "?"
        more = {name: value for name, value in message.items() if name not in ("role", "content") and value}
        lines = [f"{role}: {_text(message.get('content'))}"]
        lines += [f"  {name}: {_text(value)}" for name, value in more.items()]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _item(row: Mapping[str, Any]) -> ViewItem:
    parts = []
    facts = {name: value for name, value in row.items() if name not in TOKEN_COLUMNS}
    if isinstance(facts.get("text"), str):
        parts.append(facts.pop("text"))
    for name in ("messages", "prompt", "chosen", "rejected"):
        if _is_dialogue(facts.get(name)):
            messages = facts.pop(name)
            heading = "" if name == "messages" else f"--- {name}\n"
            parts.append(heading + dialogue(messages))
    if tokens := next((row[name] for name in ("ids", "prompt_ids") if row.get(name) is not None), None):
        facts["tokens"] = len(tokens)
    if "question" in facts and "choices" in facts:
        question, choices = facts.pop("question"), facts.pop("choices")
        parts.append("\n".join([str(question), *(f"  {n}. {choice}" for n, choice in enumerate(choices))]))
    return ViewItem({name: value for name, value in facts.items() if value is not None}, "\n\n".join(parts))


def _is_dialogue(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) and "role" in item for item in value)
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _table(rows: Sequence[Mapping[str, Any]]) -> View:
    """A table without the columns that are empty everywhere; a value and its standard error share a column."""
    names = [name for name in (rows[0] if rows else {}) if any(row.get(name) is not None for row in rows)]
    header = [name for name in names if name != "standard_error" or "value" not in names]
    cells = [[_cell(row, name) for name in header] for row in rows]
    return View(header=header, rows=cells, raw=[_plain(row) for row in rows])


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if name == "value" and row.get("standard_error") is not None:
        return f"{format_number(value)} ± {row['standard_error']:.2g}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return format_number(value) if number else str(value)


def _read(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".json":
        return list(json.loads(file.read_bytes()))
    rows: list[dict[str, Any]] = pq.read_table(file, use_threads=False).to_pylist()
    return rows


def _json_lines(folder: Path, sample: int) -> list[dict[str, Any]]:
    """A repeatable sample of the objects in the JSON lines of an artifact."""
    files = files_of(folder / "data", ".jsonl")
    rows = [row for file in files for row in storage.read_lines(file) if isinstance(row, dict)]
    return sorted(rows, key=lambda row: unit_interval(str(row.get("id", row))))[:sample]


def _description(folder: Path, manifest: Manifest) -> View:
    facts: dict[str, Any] = {"kind": manifest.kind, "made": manifest.created_at[:16].replace("T", " ")}
    facts |= dict(sorted(manifest.metrics.items()))
    facts |= {name: value for name, value in manifest.resolved.items() if not isinstance(value, dict)}
    size = sum(file.size for file in manifest.files)
    rows = [[name, _cell({name: value}, name)] for name, value in facts.items()]
    rows += [[file.path, format_bytes(file.size)] for file in manifest.files[:20]]
    rows += [["files", f"{len(manifest.files)}, {format_bytes(size)}, in {folder / 'data'}"]]
    raw = facts | {"files": [{"path": file.path, "size": file.size} for file in manifest.files]}
    return View(header=["", "value"], rows=rows, raw=_plain(raw))


def _plain(value: Mapping[str, Any]) -> Any:
    """JSON values; dates and bytes become text."""
    return json.loads(json.dumps(value, ensure_ascii=False, default=str))
