"""Report section on the toxicity classifier: its error rates, by which a reader can judge its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bessemer.report.facts import Facts
from bessemer.report.markup import Html, element, markup, table
from bessemer.report.page import fold, section

RATES = ("precision", "recall", "false_positive_rate", "roc_auc")
OF_CATEGORIES = ("recall", "false_positive_rate")
"""Rates by category. If all texts of a category have the same label, precision and ROC AUC say nothing."""


def classifier(facts: Facts) -> Html | None:
    """The section, or None if no stage trained a classifier."""
    made = [stage for stage in facts.finished if stage.produces == "classifier"]
    return section("classifier", "How often the toxicity classifier errs", [_errors(s.folder / "data") for s in made])


def _errors(data: Path) -> Html:
    rows = pq.read_table(data / "errors.parquet", use_threads=False).to_pylist()
    whole, parts = [r for r in rows if r["group"] is None], [r for r in rows if r["group"] is not None]
    note = (
        "Errors on the held-out part of each training set and on each test set. A false positive is a text that the "
        "classifier calls toxic and its label does not. If recall is low, the classifier underestimates toxicity."
    )
    return markup(
        element("p", note), _table(whole, RATES), fold("By category", _table(parts, OF_CATEGORIES)) if parts else None
    )


def _table(rows: list[dict[str, Any]], rates: tuple[str, ...]) -> Html:
    names = ["set"] + (["category"] if any(r["group"] for r in rows) else [])
    header = [*names, "n", "toxic", *(rate.replace("_", " ") for rate in rates)]
    cells = [
        [r["set"], r["group"], f"{r['n']:,}", f"{r['num_positive']:,}", *(_rate(r[rate]) for rate in rates)]
        for r in rows
    ]
    shown = cells if len(names) > 1 else [row[:1] + row[2:] for row in cells]
    return table(header, shown, numeric=range(len(names), len(header)))


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
