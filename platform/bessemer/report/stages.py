"""Report section with one row per stage: state, duration, size and result."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from bessemer.formatting import format_bytes, format_count, format_number, format_seconds
from bessemer.report import charts
from bessemer.report.facts import Facts
from bessemer.report.html import render
from bessemer.report.overview import STATUS
from bessemer.tracking.records import RUNNING

STATES = STATUS | {"reused": "= reused", "waiting": "· not run"}

_TEMPLATE = """
{{ table([("stage", "strong"), ("", "whole"), ("took", "n"), ("size", "n"), ("result", "")], rows) }}
{{ chart }}
"""


def stages(facts: Facts) -> Markup:
    began = facts.run.started
    rows, spans, clock = [], [], 0.0
    for stage in facts.stages:
        manifest = stage.manifest
        is_running = stage.state == RUNNING
        took = facts.elapsed(stage.started, stage.ended) if stage.started and (stage.ended or is_running) else None
        duration = format_seconds(took) if took is not None else ""
        size = format_bytes(sum(file["size"] for file in manifest["files"])) if manifest else ""
        state = STATES[stage.state]
        result = stage.error or _outcome(manifest)
        rows.append([stage.name, state, duration, size, result])
        first = (stage.started - began) / 1000 if stage.started else clock
        clock = first + (took or 0.0)
        spans.append((stage.name, first, clock, duration or state.split(" ", 1)[1]))
    total = facts.elapsed(began, facts.run.ended)
    chart = charts.timeline_chart(spans, max(total, clock)) if clock else ""
    return render(_TEMPLATE, rows=rows, chart=chart)


def _outcome(manifest: dict[str, Any]) -> str:
    """One line on an artifact: its document counts or, if it has none, its headline metrics."""
    if not manifest:
        return ""
    if counts := manifest["counts"]:
        parts = [f"{format_count(counts['documents_in'])} in"] if counts["documents_in"] else []
        parts += [f"{format_count(counts['created'])} created"] if counts["created"] else []
        return ", ".join([*parts, f"{format_count(counts['documents_out'])} out"])
    return ", ".join(f"{name} {format_number(value)}" for name, value in sorted(manifest["metrics"].items())[:4])
