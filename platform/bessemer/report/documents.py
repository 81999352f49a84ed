"""The section of the report about documents: how many each stage keeps, and the rules that remove or skip some."""

from __future__ import annotations

from bessemer.artifacts.removals import heavy_removals, sentences
from bessemer.commands import with_storage_path
from bessemer.formatting import format_bytes, format_count, format_number
from bessemer.report import charts
from bessemer.report.dropped import Example, examples
from bessemer.report.facts import Facts
from bessemer.report.markup import Html, element, markup, table
from bessemer.report.page import section
from bessemer.tracking.records import StageRecord

MOST_RULES = 12
EXAMPLES = 3


def documents(facts: Facts) -> Html | None:
    """The table and the chart of documents at each stage; None if no stage keeps a ledger."""
    if not facts.funnel:
        return None
    rows = [row for _, row in facts.funnel]
    header_ = ["stage", "in", "created", "out", "removed", "changed", "text out"]
    figures = [
        [
            stage.name,
            *(format_count(n) for n in (row.documents_in, row.created, row.documents_out, row.removed)),
            format_count(stage.manifest["counts"]["changed"]),
            format_bytes(stage.manifest["counts"]["bytes_out"]) if stage.manifest["counts"]["bytes_out"] else "",
        ]
        for stage, row in facts.funnel
    ]
    return section(
        "data",
        "Documents at each stage",
        element("p", "At every stage: documents in + created = documents out + removed."),
        charts.funnel_chart(rows),
        table(header_, figures, numeric=range(1, 7)),
        (_removed(facts, stage) for stage, row in facts.funnel if row.removed),
        (_skipped(stage) for stage, _ in facts.funnel),
    )


def _skipped(stage: StageRecord) -> Html | None:
    """The rules that do not apply to some languages, with the documents that stay although they are in these."""
    found = stage.manifest["resolved"].get("abstentions", {})
    rows = [
        [rule, language, format_count(number)]
        for rule, languages in found.items()
        for language, number in languages.items()
    ]
    if not rows:
        return None
    title = f"Limits that {stage.name} skips, because they are not known for the language"
    return markup(element("h3", title), table(["rule", "language", "documents that stay"], rows, numeric=[2]))


def _removed(facts: Facts, stage: StageRecord) -> Html:
    by_rule = sorted(stage.manifest["counts"]["removed_by_rule"].items(), key=lambda item: (-item[1], item[0]))
    found = examples(stage.folder / "ledger", [i.folder / "data" for i in stage.inputs], EXAMPLES)
    most = by_rule[0][1]
    shown = [
        element(
            "details",
            element(
                "summary",
                rule,
                element("span", format_count(count), class_="n"),
                element("span", class_="bar", style=f"width: {max(1, round(100 * count / most))}px"),
            ),
            element("div", [_example(example) for example in found.get(rule, [])] or "No example was read."),
            open="" if index == 0 and rule in found else None,
        )
        for index, (rule, count) in enumerate(by_rule[:MOST_RULES])
    ]
    rest = by_rule[MOST_RULES:]
    if rest:
        names = ", ".join(f"{rule} {format_count(count)}" for rule, count in rest)
        shown.append(element("p", f"and by {len(rest)} other rules: {names}", class_="quiet"))
    title = f"Removed by {stage.name}"
    heavy = [
        element("p", element("b", "Warning: "), sentence)
        for source in stage.inputs
        for sentence in sentences(heavy_removals(stage.folder / "ledger", source.folder / "data"))
    ]
    more = with_storage_path(f"bessemer show {facts.run.name} {stage.name} --dropped", facts.root)
    return markup(element("h3", title), heavy, shown, element("p", "More: ", element("code", more), class_="quiet"))


def _example(example: Example) -> Html:
    measured = []
    if example.value is not None:
        measured.append(f"measured {format_number(example.value)}")
    if example.threshold is not None:
        measured.append(f"limit {format_number(example.threshold)}")
    if example.evidence:
        measured.append(example.evidence)
    return element(
        "div",
        element("div", example.url, class_="mono"),
        element("div", "; ".join(measured)) if measured else None,
        element("blockquote", example.text) if example.text else None,
        class_="example",
    )
