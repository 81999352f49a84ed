"""Builds the report of a run as one HTML file.

The report reads only the run's folder and the artifacts that the run's plan names. It can be built during the run,
after a failure, and at any later time. The page loads no other file and runs no script.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup

from bessemer.report import (
    classifier,
    cost,
    documents,
    glossary,
    lineage,
    overview,
    repeat,
    samples,
    scaling,
    scores,
    stages,
    training,
)
from bessemer.report.facts import Facts
from bessemer.report.html import render, render_file
from bessemer.terminal import printable
from bessemer.tracking.records import FINISHED

Make = Callable[[Facts], Markup | None]
"""Returns the content of a section, or None if the run has nothing to show."""

SECTIONS: tuple[tuple[str, str, Make], ...] = (
    ("scores", "Scores", scores.scores),
    ("samples", "Samples", samples.samples),
    ("classifier", "Classifier", classifier.classifier),
    ("data", "Documents", documents.documents),
    ("training", "Training", training.training),
    ("scaling", "Scaling law", scaling.scaling),
    ("stages", "Stages", stages.stages),
    ("cost", "Time and cost", cost.cost),
    ("lineage", "Lineage", lineage.lineage),
    ("repeat", "Repeat", repeat.repeat),
)
"""Name, title and content, in the order of the page: the answer first, then the data, the curves and the cost."""

_GLOSSARY = """
<dl>{% for name, meaning in terms %}<dt>{{ name }}</dt><dd>{{ meaning }}</dd>{% endfor %}</dl>
"""


def build(run_folder: Path) -> str:
    """Builds the report of the run in `run_folder` as one self-contained HTML document.

    An unfinished run begins with its stages. Control characters are written as escape sequences such as `\\x1b`: HTML
    forbids most of them, and bidirectional overrides would reorder a text.
    """
    facts = Facts.of(run_folder)
    made = [(name, title, content) for name, title, make in SECTIONS if (content := make(facts))]
    if facts.run.status != FINISHED:
        made.sort(key=lambda section: section[0] != "stages")
    key_figures = overview.key_figures(facts)
    terms = glossary.used([key_figures, *(content for _, _, content in made)])
    made.append(("glossary", "Glossary", render(_GLOSSARY, terms=terms)))
    page = render_file(
        "page.html",
        title=f"{facts.run.recipe}: {facts.run.name}",
        header=overview.header(facts),
        key_figures=key_figures,
        sections=[{"name": name, "title": title, "content": content} for name, title, content in made],
        footer=f"Bessemer {facts.versions.get('bessemer', '')}; made from {run_folder.name}",
    )
    return printable(page)
