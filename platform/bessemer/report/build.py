"""Builds the report of a run as one HTML file.

The report reads only the run's folder and the artifacts that the run's plan names. It can be built during the run,
after a failure, and at any later time. The page loads no other file and runs no script.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from bessemer.report import (
    classifier,
    cost,
    documents,
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
from bessemer.report.html import render_file
from bessemer.terminal import printable


@dataclass(frozen=True)
class Section:
    """A section of the page. `make` returns its content, or None if the run has nothing to show."""

    name: str
    title: str
    heading: str
    make: Callable[[Facts], Markup | None]


SECTIONS = (
    Section("stages", "Stages", "Stages", stages.stages),
    Section("data", "Data", "Documents at each stage", documents.documents),
    Section("training", "Training", "Training", training.training),
    Section("scaling", "Scaling law", "Scaling law", scaling.scaling),
    Section("scores", "Scores", "Scores", scores.scores),
    Section("classifier", "Classifier", "How often the toxicity classifier errs", classifier.classifier),
    Section("samples", "Samples", "Samples", samples.samples),
    Section("lineage", "Lineage", "Origin of every artifact", lineage.lineage),
    Section("cost", "Cost", "Time and cost", cost.cost),
    Section("repeat", "Repeat", "How to repeat it", repeat.repeat),
)


def build(run_folder: Path) -> str:
    """Builds the report of the run in `run_folder` as one self-contained HTML document.

    Control characters are written as escape sequences such as `\\x1b`: HTML forbids most of them, and bidirectional
    overrides would reorder a text.
    """
    facts = Facts.of(run_folder)
    shown = [
        {"name": section.name, "title": section.title, "heading": section.heading, "content": content}
        for section in SECTIONS
        if (content := section.make(facts))
    ]
    page = render_file(
        "page.html",
        title=f"{facts.run.recipe}: {facts.run.name}",
        header=overview.header(facts),
        key_figures=overview.key_figures(facts),
        sections=shown,
        footer=f"Bessemer {facts.versions.get('bessemer', '')}; made from {run_folder.name}",
    )
    return printable(page)
