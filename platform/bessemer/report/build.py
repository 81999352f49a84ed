"""Builds the report of a run as one HTML file.

The report reads only the run's folder and the artifacts that the run's plan names. It can be built during the run,
after a failure, and at any later time.
"""

from __future__ import annotations

from pathlib import Path

from bessemer.report import evaluation, scaling, sections
from bessemer.report.classifier import classifier
from bessemer.report.documents import documents
from bessemer.report.facts import Facts
from bessemer.report.markup import element
from bessemer.report.page import page

SECTIONS = [
    ("stages", "Stages", sections.stages),
    ("data", "Data", documents),
    ("training", "Training", sections.training),
    ("scaling", "Scaling law", scaling.scaling),
    ("scores", "Scores", evaluation.scores),
    ("classifier", "Classifier", classifier),
    ("samples", "Samples", evaluation.samples),
    ("lineage", "Lineage", sections.lineage),
    ("cost", "Cost", sections.cost),
    ("repeat", "Repeat", sections.repeat),
]


def build(run_folder: Path) -> str:
    """Builds the report of the run in `run_folder` as one self-contained HTML document."""
    facts = Facts.of(run_folder)
    made = [(name, title, content) for name, title, make in SECTIONS if (content := make(facts))]
    return page(
        f"{facts.run.recipe}: {facts.run.name}",
        sections.header(facts),
        sections.navigation([(name, title) for name, title, _ in made]),
        sections.key_figures(facts),
        (content for _, _, content in made),
        element("footer", f"Bessemer {facts.versions.get('bessemer', '')}; made from {run_folder.name}"),
    )
