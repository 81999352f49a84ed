"""The top of the report: the name of the run, its status, and its most important numbers."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from bessemer.formatting import format_count, format_seconds
from bessemer.report.facts import Facts, format_time
from bessemer.report.html import render
from bessemer.tracking.records import FAILED, FINISHED, KILLED, RUNNING

STATUS = {FINISHED: "✓ finished", FAILED: "✗ failed", KILLED: "‖ stopped", RUNNING: "▸ running"}

_HEADER = """
<header><h1>{{ run.recipe }}</h1>
{% if description %}<p class="lead">{{ description }}</p>{% endif %}
<ul class="facts"><li><span class="status{{ ' bad' if bad }}">{{ status }}</span></li>
{% for name, value in known if value %}<li>{{ name }} <b>{{ value }}</b></li>{% endfor %}
</ul>
{% if run.error %}<p class="quiet">{{ run.error }}</p>{% endif %}
</header>
"""

_KEY_FIGURES = """
<div class="tiles">
{% for value, label, rest in figures %}
<div class="tile"><b>{{ value }}</b><span>{{ label | term }} {{ rest }}</span></div>
{% endfor %}
</div>
"""


def header(facts: Facts) -> Markup:
    run = facts.run
    known = [
        ("run", run.name),
        ("started", format_time(run.started)),
        ("running for" if run.status == RUNNING else "took", format_seconds(facts.elapsed(run.started, run.ended))),
        ("until", format_time(facts.now) if run.status == RUNNING else ""),
        ("on", facts.host),
        ("seed", str(facts.settings.get("seed", ""))),
        ("Bessemer", facts.versions.get("bessemer", "")),
    ]
    return render(
        _HEADER,
        run=run,
        description=facts.settings.get("description"),
        status=STATUS[run.status],
        bad=run.status in (FAILED, KILLED),
        known=known,
    )


def key_figures(facts: Facts) -> Markup:
    """Tiles with the most important numbers of the run."""
    return render(_KEY_FIGURES, figures=_figures(facts))


def _figures(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yields (value, term, rest of the label), the scores first."""
    metrics, resolved = facts.metrics, facts.resolved
    judged = [
        score
        for evaluation in facts.evaluations
        for score in evaluation.scores
        if score.chance is not None and score.group is None and score.model == evaluation.models[-1]
    ]
    for score in judged[:3]:
        yield f"{score.value:.1%}", score.metric, f"of {score.task} (chance {score.chance:.0%})"
    if "validation/bits_per_byte" in metrics:
        yield f"{metrics['validation/bits_per_byte']:.3f}", "bits per byte", "of held-out text"
    if "num_parameters" in resolved:
        yield format_count(resolved["num_parameters"]), "parameters", ""
    if trained := sum(stage.manifest["metrics"].get("train/tokens", 0) for stage in facts.finished):
        yield format_count(trained), "tokens trained on", ""
    if "data/tokens" in metrics:
        yield format_count(metrics["data/tokens"]), "tokens", "of text"
    documents = [row for stage, row in facts.funnel if stage.manifest["kind"] in ("pages", "documents")]
    if documents:
        created = sum(row.created for row in documents)
        yield format_count(documents[-1].documents_out), "documents", f"of {format_count(created)}"
    yield format_seconds(facts.seconds), "work", "in this run"
