"""Report section on the models' output: continuations of prompts, then good and bad answers of each task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from bessemer.report.evaluation import LONGEST, Evaluation
from bessemer.report.facts import Facts
from bessemer.report.html import render
from bessemer.report.privacy import masked

MOST_SAMPLES = 8
EXAMPLES = 2
"""Number of best answers, and of worst answers, shown per task."""

_TEMPLATE = """
{% for evaluation in evaluations %}
{% for sample in evaluation.samples %}
{% set alone = sample.completions | length == 1 %}
<div class="example">
<p class="sample"><span class="prompt">{{ sample.prompt }}</span>\
{% if alone %}<span>{{ sample.completions.values() | first }}</span>{% endif %}</p>
{% for model, text in sample.completions.items() if not alone %}{{ quote(model, text) }}{% endfor %}
{% if sample.reference %}{{ quote("in the document", sample.reference) }}{% endif %}
</div>
{% endfor %}
{% for task in evaluation.answers %}
{% call fold("Answers of %s: the best and the worst by %s" | format(task.name, task.metric)) %}
{% for item in task.examples %}
<div class="example">
<p class="sample"><span class="prompt">{{ item.query }}</span></p>
{% for who, text in item.answers %}{{ quote(who, text) }}{% endfor %}
</div>
{% endfor %}
{% endcall %}
{% endfor %}
{% endfor %}
"""


def samples(facts: Facts) -> Markup | None:
    """The section, or None if no evaluation wrote samples or answers."""
    found = [{"samples": e.samples(MOST_SAMPLES), "answers": [*_answers(e)]} for e in facts.evaluations]
    return render(_TEMPLATE, evaluations=found) if any(e["samples"] or e["answers"] for e in found) else None


def _answers(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """The best and the worst answers of the last model per task, with the other models' answers to the same items."""
    whole = [score for score in evaluation.scores if score.group is None and score.model == evaluation.models[-1]]
    for task in dict.fromkeys(score.task for score in whole):
        items = {model: evaluation.items(model, task) for model in evaluation.models}
        last = items[evaluation.models[-1]]
        metric = next((s.metric for s in whole if s.task == task and last and s.metric in last[0]), None)
        if metric is None or "query" not in last[0]:
            continue
        order = sorted(range(len(last)), key=lambda place: -(last[place][metric] or 0.0))
        chosen = list(dict.fromkeys([*order[:EXAMPLES], *order[-EXAMPLES:]]))
        shown = [
            _answer(metric, last[place], {m: rows[place] for m, rows in items.items() if len(rows) == len(last)})
            for place in chosen
        ]
        yield {"name": task, "metric": metric, "examples": shown}


def _answer(metric: str, asked: dict[str, Any], answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    wanted, *given = masked([text[:LONGEST] for text in (_wanted(asked), *(_given(row) for row in answers.values()))])
    (query,) = masked([asked["query"][-LONGEST:]])
    who = [f"{model} ({metric} {row[metric]:.3g})" for model, row in answers.items()]
    return {"query": query, "answers": [*zip(who, given, strict=True), ("wanted", wanted)]}


def _wanted(row: dict[str, Any]) -> str:
    if "choices" not in row:
        return " | ".join(row["references"])
    gold = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
    return " | ".join(row["choices"][number] for number in gold)


def _given(row: dict[str, Any]) -> str:
    if "choices" not in row:
        return str(row["answer"])
    likelihoods = row["log_likelihoods"]
    return str(row["choices"][likelihoods.index(max(likelihoods))])
