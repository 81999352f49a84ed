"""Report section on evaluations: scores, and differences between models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from bessemer.formatting import format_number
from bessemer.report import charts
from bessemer.report.charts import Interval
from bessemer.report.evaluation import CLEAN, CONTAMINATED, Evaluation, Score
from bessemer.report.facts import Facts
from bessemer.report.html import render
from bessemer.report.risks import risk_charts

MOST_CONTAMINATED = 20

_TEMPLATE = """
{% set columns = [("task", ""), ("metric", "term"), ("models", ""), ("difference", "n"), ("95 % interval", "n"),
                  ("items won", "n"), ("p", "n")] %}
{% for evaluation in evaluations %}
{% if evaluations[1:] %}<h3>{{ evaluation.name }}</h3>{% endif %}
{{ table(*evaluation.whole) }}
{% if evaluation.comparisons %}
<h3>Differences between models</h3>
<p><b>{{ evaluation.larger | length }} of {{ evaluation.comparisons | length }} differences are larger than noise.</b> \
All models answered the same items. The intervals come from a paired bootstrap of \
{{ "{:,}".format(evaluation.bootstrap.num_resamples) }} draws with seed {{ evaluation.bootstrap.seed }}, p from random \
swaps of the two models' answers. Of the differences called larger than noise, at most 5 % are expected to be noise.</p>
{% if evaluation.larger %}{{ table(columns, evaluation.larger) }}{% endif %}
{% if evaluation.within %}
{% call fold("Differences within noise (%d)" | format(evaluation.within | length)) %}
{{ table(columns, evaluation.within) }}
{% endcall %}
{% endif %}
{% endif %}
{% if evaluation.chart %}
<p>Bars span 1.96 standard errors to each side. The dashed mark is the score of random guessing.</p>
{{ evaluation.chart }}
{% endif %}
{% if evaluation.risks %}
<div class="charts">{% for chart in evaluation.risks %}{{ chart }}{% endfor %}</div>
{% endif %}
{% if evaluation.parts %}{% call fold("By group") %}{{ table(*evaluation.parts) }}{% endcall %}{% endif %}
{% if evaluation.num_contaminated %}
{% call fold("Contaminated items ({:,})".format(evaluation.num_contaminated)) %}
{{ table(
    [("task", ""), ("item", ""), ("words seen", "n"), ("n-gram", "n"), ("split", ""),
     ("document with the largest overlap", "")],
    evaluation.contaminated,
) }}
{% set more = evaluation.num_contaminated - evaluation.contaminated | length %}
{% if more %}<p class="quiet">and {{ "{:,}".format(more) }} more in contamination.parquet</p>{% endif %}
{% endcall %}
{% endif %}
{% endfor %}
"""


def scores(facts: Facts) -> Markup | None:
    """The section, with one part per evaluation; None if no evaluation wrote scores."""
    found = [_scores(evaluation) for evaluation in facts.evaluations]
    return render(_TEMPLATE, evaluations=found) if found else None


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    whole = [s for s in evaluation.scores if s.group is None and s.metric != CONTAMINATED]
    parts = [s for s in evaluation.scores if s.group not in (None, CLEAN)]
    several = len(evaluation.models) > 1
    judged = [
        Interval(f"{s.task} {s.metric}" + (f", {s.model}" if several else ""), s.value, s.standard_error, s.chance)
        for of_models in _side_by_side(whole).values()
        for s in of_models.values()
        if s.chance is not None
    ]
    return {
        "name": evaluation.name,
        "chart": charts.interval_chart(judged) if judged else None,
        "whole": _score_table(whole, evaluation),
        "parts": _score_table(parts, evaluation) if parts else None,
        "num_contaminated": len(evaluation.contaminated),
        "contaminated": [
            [row["task"], row["id"], f"{row['overlap']:.0%}", row["ngram_size"], row["split"], row["url"]]
            for row in evaluation.contaminated[:MOST_CONTAMINATED]
        ],
        "risks": [*risk_charts(evaluation)],
        "comparisons": evaluation.comparisons,
        "larger": [_comparison(row) for row in evaluation.comparisons if row["larger_than_noise"]],
        "within": [_comparison(row) for row in evaluation.comparisons if not row["larger_than_noise"]],
        "bootstrap": next(iter(evaluation.comparisons), None),
    }


def _side_by_side(found: Sequence[Score]) -> dict[tuple[str, str, str | None], dict[str, Score]]:
    """Groups scores by (task, metric, group), then by model."""
    rows: dict[tuple[str, str, str | None], dict[str, Score]] = {}
    for score in found:
        rows.setdefault((score.task, score.metric, score.group), {})[score.model] = score
    return rows


def _score_table(found: Sequence[Score], evaluation: Evaluation) -> tuple[list[tuple[str, str]], list[tuple[str, ...]]]:
    """Columns and rows: one row per task, metric and group; one column per model. Leaves out empty columns."""
    rows, last = _side_by_side(found), evaluation.models[-1]
    others = {(s.task, s.metric, s.group): s for s in evaluation.scores if s.model == last}
    several = len(evaluation.models) > 1
    columns: list[tuple[str, str, list[str]]] = [
        ("task", "", [task for task, _, _ in rows]),
        ("metric", "term", [metric for _, metric, _ in rows]),
        ("group", "", [group or "" for _, _, group in rows]),
        *(
            (model if several else "value", "n", [_value(r.get(model)) for r in rows.values()])
            for model in evaluation.models
        ),
        ("chance", "n", [f"{s.chance:.4g}" if s.chance is not None else "" for s in map(_newest, rows.values())]),
        ("n", "n", [f"{_newest(of_models).n:,}" for of_models in rows.values()]),
    ]
    if not any(group for _, _, group in rows):
        shares = [others.get((task, CONTAMINATED, None)) for task, _, _ in rows]
        cleans = [others.get((task, metric, CLEAN)) for task, metric, _ in rows]
        of_last = f" ({last})" if several else ""
        columns.append(("contaminated", "n", [f"{share.value:.1%}" if share else "" for share in shares]))
        clean_values = [f"{_value(o)} (n = {o.n:,})" if o else "" for o in cleans]
        columns.append((f"clean items only{of_last}", "n", clean_values))
    shown = [column for column in columns if any(column[2])]
    return [(name, kind) for name, kind, _ in shown], list(zip(*(cells for _, _, cells in shown), strict=True))


def _newest(of_models: dict[str, Score]) -> Score:
    return list(of_models.values())[-1]


def _value(score: Score | None) -> str:
    if score is None:
        return ""
    return format_number(score.value) + (f" ± {score.standard_error:.2g}" if score.standard_error is not None else "")


def _comparison(row: dict[str, Any]) -> list[str]:
    return [
        row["task"],
        row["metric"],
        f"{row['model_b']} − {row['model_a']}",
        f"{row['difference']:+.3g}",
        f"{row['low']:+.3g} … {row['high']:+.3g}",
        f"{row['win_rate']:.1%}",
        f"{row['p']:.2g}",
    ]
