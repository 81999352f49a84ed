"""Report section on the toxicity classifier: its error rates, by which a reader can judge its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from markupsafe import Markup

from bessemer.report.facts import Facts
from bessemer.report.html import render

RATES = ("precision", "recall", "false_positive_rate", "roc_auc")
OF_CATEGORIES = ("recall", "false_positive_rate")
"""Rates by category. If all texts of a category have the same label, precision and ROC AUC say nothing."""

_TEMPLATE = """
<p>Errors of the toxicity classifier on the held-out part of each training set and on each test set. A false positive \
is a text that the classifier calls toxic and its label does not. If recall is low, the classifier underestimates \
toxicity.</p>
{{ table(*whole) }}
{% if parts %}{% call fold("By category") %}{{ table(*parts) }}{% endcall %}{% endif %}
"""


def classifier(facts: Facts) -> Markup | None:
    """The section, or None if no stage trained a classifier."""
    made = [stage for stage in facts.finished if stage.produces == "classifier"]
    return Markup("").join(errors(stage.folder / "data") for stage in made) or None


def errors(data: Path) -> Markup:
    """The tables of error rates of the classifier in the artifact folder `data`."""
    rows = pq.read_table(data / "errors.parquet", use_threads=False).to_pylist()
    whole, parts = [r for r in rows if r["group"] is None], [r for r in rows if r["group"] is not None]
    return render(_TEMPLATE, whole=_table(whole, RATES), parts=_table(parts, OF_CATEGORIES) if parts else None)


def _table(rows: list[dict[str, Any]], rates: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """The columns and the rows of a table."""
    names = ["set", "category"] if any(r["group"] for r in rows) else ["set"]
    figures = ["n", "toxic", *(rate.replace("_", " ") for rate in rates)]
    columns = [(name, "") for name in names] + [(name, "n") for name in figures]
    cells = [
        [
            *[r["set"], r["group"]][: len(names)],
            f"{r['n']:,}",
            f"{r['num_positive']:,}",
            *(_rate(r[rate]) for rate in rates),
        ]
        for r in rows
    ]
    return columns, cells


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
