"""Report section on the models' output: answers to questions, then continuations of prompts, all models side by side.

The models are in the order of the evaluation, such as base, tuned, aligned. The last one is the subject: the section
shows its best and its worst answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from bessemer.report.evaluation import LONGEST, Evaluation, Sample
from bessemer.report.facts import Facts
from bessemer.report.html import render
from bessemer.report.privacy import masked

MOST_SAMPLES, OPEN_SAMPLES = 8, 2
EXAMPLES = 2
"""Number of best answers, and of worst answers, shown per task."""

_TEMPLATE = """
{% macro side_by_side(shown) %}
<div class="example">
<p class="sample prompt">{{ shown.prompt }}</p>
<div class="columns">
{% for who, note, text in shown.texts %}
<figure><figcaption>{{ who | term }}{% if note %} <span class="key">{{ note }}</span>{% endif %}</figcaption>\
<div class="sample">{{ text }}</div></figure>
{% endfor %}
</div></div>
{% endmacro %}
{% for evaluation in evaluations %}
{% if evaluations[1:] %}<h3>{{ evaluation.name }}</h3>{% endif %}
{% for task in evaluation.answers %}
<details{% if task.is_open %} open{% endif %}>
<summary>{{ task.name }}: the best and the worst answers by {{ task.metric | term }}</summary>
<div>{% for shown in task.examples %}{{ side_by_side(shown) }}{% endfor %}</div>
</details>
{% endfor %}
{% set parts = [("Continuations", evaluation.samples[:open]), ("More continuations", evaluation.samples[open:])] %}
{% for title, shown in parts %}
{% if shown %}
<details{% if loop.first %} open{% endif %}><summary>{{ title }}</summary>
<div>{% for sample in shown %}{{ side_by_side(sample) }}{% endfor %}</div>
</details>
{% endif %}
{% endfor %}
{% endfor %}
"""

Text = tuple[str, str, str]
"""A text with its author and a note, such as its score."""


def samples(facts: Facts) -> Markup | None:
    """The section, with the newest evaluation first; None if no evaluation wrote samples or answers."""
    found = [
        {"name": e.name, "samples": [_continuations(s) for s in e.samples(MOST_SAMPLES)], "answers": _answers(e)}
        for e in reversed(facts.evaluations)
    ]
    shown = [e for e in found if e["samples"] or e["answers"]]
    return render(_TEMPLATE, evaluations=shown, open=OPEN_SAMPLES) if shown else None


def _continuations(sample: Sample) -> dict[str, Any]:
    texts: list[Text] = [(model, "", text) for model, text in sample.completions.items()]
    if sample.reference:
        texts.append(("in the document", "", sample.reference))
    return {"prompt": sample.prompt, "texts": texts}


def _answers(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The tasks with answers to show, free answers first. Choices are open only if no task has free answers."""
    tasks = sorted(_tasks(evaluation), key=lambda task: not task["is_open"])
    return [task | {"is_open": task["is_open"] or not tasks[0]["is_open"]} for task in tasks]


def _tasks(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
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
        yield {"name": task, "metric": metric, "examples": shown, "is_open": "choices" not in last[0]}


def _answer(metric: str, asked: dict[str, Any], answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    wanted, *given = masked([text[:LONGEST] for text in (_wanted(asked), *(_given(row) for row in answers.values()))])
    (query,) = masked([asked["query"][-LONGEST:].strip()])
    texts: list[Text] = [
        (model, f"{metric} {row[metric]:.3g}", text) for (model, row), text in zip(answers.items(), given, strict=True)
    ]
    return {"prompt": query, "texts": [*texts, ("wanted", "", wanted)]}


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
