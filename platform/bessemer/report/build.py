"""Builds the report: facts in, one HTML file out.

It reads the run's folder and the artifacts that its plan names, and nothing else; it can be built while a run works,
after it failed, and again at any time later. Nothing in Bessemer depends on it.
"""

from __future__ import annotations

from pathlib import Path

from bessemer.report import evaluation, scaling, sections
from bessemer.report.classifier import classifier
from bessemer.report.facts import Facts
from bessemer.report.markup import element
from bessemer.report.page import page

SECTIONS = [
    ("stages", "Stages", sections.stages),
    ("data", "Data", sections.data),
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
    """The report of the run in `run_folder` as one self-contained HTML document."""
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
