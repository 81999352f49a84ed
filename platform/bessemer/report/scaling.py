"""Report section on scaling laws: formula, chart and table from the artifact of the stage `scaling_law`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bessemer import storage
from bessemer.formatting import format_count
from bessemer.report import charts
from bessemer.report.facts import Facts
from bessemer.report.html import render
from bessemer.train.scaling_law import ScalingLaw


@dataclass(frozen=True)
class Fitted:
    """A scaling law, its models (`points`), and its predictions for the models that were left out of the fit."""

    law: ScalingLaw
    metric: str
    left_out: list[dict[str, Any]]
    points: list[dict[str, Any]]


def read_laws(data: Path) -> list[Fitted]:
    """The law in the artifact folder `data`, as a list of one; an empty list if there is none."""
    found, points = storage.read_json(data / "law.json"), storage.read_json(data / "points.json")
    if not found or not points:
        return []
    return [Fitted(ScalingLaw(**found["law"]), found["metric"], found["left_out"], points)]


_TEMPLATE = """
<p><code>L(C) = {{ "%.4g" | format(law.irreducible) }} + {{ "%.4g" | format(law.coefficient) }} · \
C^-{{ "%.4g" | format(law.exponent) }}</code>: predicted loss after C floating-point operations of training.</p>
{% for p in left_out %}
<p>{{ p.stage }} was left out of the fit. The law predicts {{ "%.4f" | format(p.predicted) }} \
({{ "%.4f to %.4f" | format(p.low, p.high) }} if one of the fitted models is left out too), \
{{ "%+.2f%%" | format(100 * p.error) }} from the measured loss.</p>
{% endfor %}
{{ chart }}
{{ table(
    [("model", ""), ("parameters", "n"), ("tokens", "n"), ("compute", "n"), ("loss", "n"), ("law", "n"), ("", "n"),
     ("", "")],
    models,
) }}
"""


def scaling(facts: Facts) -> Markup | None:
    """The section, or None if no stage fitted a law."""
    found = [fitted for stage in facts.finished for fitted in read_laws(stage.folder / "data")]
    return Markup("").join(draw(fitted) for fitted in found) or None


def draw(fitted: Fitted) -> Markup:
    """The formula, the predictions, the chart and the table of one law."""
    law = fitted.law
    points = [(p["stage"], math.log10(p["compute"]), p["loss"], p["left_out"]) for p in fitted.points]
    first, last = min(p[1] for p in points), max(p[1] for p in points)
    steps = [first + (last - first) * number / 100 for number in range(101)]
    chart = charts.scaling_chart(
        [(x, law.loss(10**x)) for x in steps],
        [(name, x, y) for name, x, y, out in points if not out],
        [(name, x, y) for name, x, y, out in points if out],
        y_label=fitted.metric,
    )
    models = [
        [
            p["stage"],
            format_count(p["parameters"]),
            format_count(p["tokens"]),
            f"{p['compute']:.3g}",
            f"{p['loss']:.4f}",
            f"{law.loss(p['compute']):.4f}",
            f"{law.loss(p['compute']) / p['loss'] - 1:+.2%}",
            "left out of the fit" if p["left_out"] else "",
        ]
        for p in fitted.points
    ]
    return render(_TEMPLATE, law=law, left_out=fitted.left_out, chart=chart, models=models)
