"""The section of the report about documents: how many each stage keeps, and the rules that remove or skip some."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from bessemer.artifacts.removals import heavy_removals, sentences
from bessemer.commands import with_storage_path
from bessemer.formatting import format_bytes, format_count, format_number
from bessemer.report import charts
from bessemer.report.dropped import Example, examples
from bessemer.report.facts import Facts
from bessemer.report.glossary import meaning_of_rule
from bessemer.report.html import render
from bessemer.tracking.records import StageRecord

MOST_RULES = 12
EXAMPLES = 3

_TEMPLATE = """
<p>At every stage: documents in + created = documents out + removed.</p>
{{ chart }}
{{ table(
    [("stage", ""), ("in", "n"), ("created", "n"), ("out", "n"), ("removed", "n"), ("changed", "n"), ("text out", "n")],
    rows,
) }}
{% for stage in removed %}
<h3>Removed by {{ stage.name }}</h3>
{% for sentence in stage.warnings %}<p><b>Warning: </b>{{ sentence }}</p>{% endfor %}
{% for rule in stage.rules %}
<details{% if rule.examples and loop.first %} open{% endif %}>
<summary>{{ rule.name | term(rule.meaning) }}<span class="n">{{ format_count(rule.count) }}</span>\
<span class="bar" style="width: {{ rule.width }}px"></span></summary>
<div>
{% for example in rule.examples %}
<div class="example"><div class="mono">{{ example.url }}</div>
{% if example.measured %}<div>{{ example.measured }}</div>{% endif %}
{% if example.text %}<blockquote>{{ example.text }}</blockquote>{% endif %}
</div>
{% else %}
No example was read.
{% endfor %}
</div></details>
{% endfor %}
{% if stage.rest %}
<p class="quiet">and by {{ stage.rest | length }} other rules: {{ stage.rest | join(", ") }}</p>
{% endif %}
<p class="quiet">More: <code>{{ stage.command }}</code></p>
{% endfor %}
{% for stage in skipped %}
<h3>Limits that {{ stage.name }} skips, because they are not known for the language</h3>
{{ table([("rule", ""), ("language", ""), ("documents that stay", "n")], stage.rows) }}
{% endfor %}
"""


def documents(facts: Facts) -> Markup | None:
    """The table and the chart of documents at each stage; None if no stage keeps a ledger."""
    if not facts.funnel:
        return None
    rows = [
        [
            stage.name,
            *(format_count(n) for n in (row.documents_in, row.created, row.documents_out, row.removed)),
            format_count(stage.manifest["counts"]["changed"]),
            format_bytes(stage.manifest["counts"]["bytes_out"]) if stage.manifest["counts"]["bytes_out"] else "",
        ]
        for stage, row in facts.funnel
    ]
    return render(
        _TEMPLATE,
        chart=charts.funnel_chart([row for _, row in facts.funnel]),
        rows=rows,
        removed=[_removed(facts, stage) for stage, row in facts.funnel if row.removed],
        skipped=[skipped for stage, _ in facts.funnel if (skipped := _skipped(stage))],
    )


def _removed(facts: Facts, stage: StageRecord) -> dict[str, Any]:
    """The rules that removed most, each with examples, and the names of the other rules."""
    by_rule = sorted(stage.manifest["counts"]["removed_by_rule"].items(), key=lambda item: (-item[1], item[0]))
    found = examples(stage.folder / "ledger", [i.folder / "data" for i in stage.inputs], EXAMPLES)
    most = by_rule[0][1]
    return {
        "name": stage.name,
        "warnings": [
            sentence
            for source in stage.inputs
            for sentence in sentences(heavy_removals(stage.folder / "ledger", source.folder / "data"))
        ],
        "rules": [
            {
                "name": rule,
                "meaning": meaning_of_rule(stage.kind, rule),
                "count": count,
                "width": max(1, round(100 * count / most)),
                "examples": [_example(example) for example in found.get(rule, [])],
            }
            for rule, count in by_rule[:MOST_RULES]
        ],
        "rest": [f"{rule} {format_count(count)}" for rule, count in by_rule[MOST_RULES:]],
        "command": with_storage_path(f"bessemer show {facts.run.name} {stage.name} --dropped", facts.root),
    }


def _example(example: Example) -> dict[str, str]:
    measured = []
    if example.value is not None:
        measured.append(f"measured {format_number(example.value)}")
    if example.threshold is not None:
        measured.append(f"limit {format_number(example.threshold)}")
    if example.evidence:
        measured.append(example.evidence)
    return {"url": example.url, "measured": "; ".join(measured), "text": example.text}


def _skipped(stage: StageRecord) -> dict[str, Any] | None:
    """The rules that do not apply to some languages, with the documents that stay although they are in these."""
    rows = [
        [rule, language, format_count(number)]
        for rule, languages in stage.manifest["resolved"].get("abstentions", {}).items()
        for language, number in languages.items()
    ]
    return {"name": stage.name, "rows": rows} if rows else None
