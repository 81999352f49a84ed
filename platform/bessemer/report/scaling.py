"""Report section on scaling laws: formula, chart and table from the artifact of the stage `scaling_law`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer import storage
from bessemer.formatting import format_count
from bessemer.report import charts
from bessemer.report.facts import Facts
from bessemer.report.markup import Html, element, markup, table
from bessemer.report.page import section
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


def scaling(facts: Facts) -> Html | None:
    """The section, or None if no stage fitted a law."""
    found = [fitted for stage in facts.finished for fitted in read_laws(stage.folder / "data")]
    return section("scaling", "Scaling law", [draw(fitted) for fitted in found])


def draw(fitted: Fitted) -> Html:
    law = fitted.law
    points = [(p["stage"], math.log10(p["compute"]), p["loss"], p["left_out"]) for p in fitted.points]
    first, last = min(p[1] for p in points), max(p[1] for p in points)
    steps = [first + (last - first) * number / 100 for number in range(101)]
    formula = f"L(C) = {law.irreducible:.4g} + {law.coefficient:.4g} · C^-{law.exponent:.4g}"
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
    predictions = [
        element(
            "p",
            f"{p['stage']} was left out of the fit. The law predicts {p['predicted']:.4f} "
            f"({p['low']:.4f} to {p['high']:.4f} if one of the fitted models is left out too), "
            f"{p['error']:+.2%} from the measured loss.",
        )
        for p in fitted.left_out
    ]
    return markup(
        element("p", element("code", formula), ": predicted loss after C floating-point operations of training."),
        predictions,
        charts.scaling_chart(
            [(x, law.loss(10**x)) for x in steps],
            [(name, x, y) for name, x, y, out in points if not out],
            [(name, x, y) for name, x, y, out in points if out],
            y_label=fitted.metric,
        ),
        table(["model", "parameters", "tokens", "compute", "loss", "law", "", ""], models, numeric=[1, 2, 3, 4, 5, 6]),
    )
