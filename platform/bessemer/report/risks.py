"""Memorisation in the report: how exposed planted secrets are by copies, and how much is given back by prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from bessemer.report import charts
from bessemer.report.charts import Series
from bessemer.report.markup import Html, element
from bessemer.report.scores import Evaluation

MOST_MODELS = 2
"""Two lines each, as many as a chart tells apart."""


def risk_charts(evaluation: Evaluation) -> Html | None:
    """Lines of the last two models, each beside its control."""
    drawn = [*_charts(evaluation)]
    return element("div", drawn, class_="charts") if drawn else None


def _charts(evaluation: Evaluation) -> Iterator[Html]:
    tasks = list(dict.fromkeys(score.task for score in evaluation.scores))
    for task in tasks:
        series = []
        for model in evaluation.models[-MOST_MODELS:]:
            if points := _points(evaluation, model, task, "exposure", "copies", math.log2):
                key = (model, task, "control_exposure")
                control = next(s.value for s in evaluation.scores if (s.model, s.task, s.metric) == key)
                beside = [(x, control) for x, _ in points]
                series += [_series(evaluation, "planted", model, points)]
                series += [_series(evaluation, "never planted", model, beside)]
        if series:
            title, label = f"{task}: exposure of secrets (bits)", "log2 of the number of copies"
            yield charts.line_chart(series, title=title, x_label=label, x_range=_range(series), zero=True)
    for task in tasks:
        series = [
            _series(evaluation, what, model, points)
            for model in evaluation.models[-MOST_MODELS:]
            for what, metric in (("training text", "tokens_given_back"), ("held out", "held_out_tokens_given_back"))
            if (points := _points(evaluation, model, task, metric, "prefix", float))
        ]
        if series:
            title, label = f"{task}: tokens given back before the first other one", "tokens of the prompt"
            yield charts.line_chart(series, title=title, x_label=label, x_range=_range(series), zero=True)


def _series(evaluation: Evaluation, what: str, model: str, points: list[tuple[float, float]]) -> Series:
    return Series(f"{what}, {model}" if len(evaluation.models) > 1 else what, points)


def _points(
    evaluation: Evaluation, model: str, task: str, metric: str, by: str, place: Callable[[float], float]
) -> list[tuple[float, float]]:
    """(place of the number in the group's name, value) of the groups `<by> <number>`."""
    return [
        (place(float(score.group.split()[1])), score.value)
        for score in evaluation.scores
        if (score.model, score.task, score.metric) == (model, task, metric)
        and score.group
        and score.group.startswith(f"{by} ")
    ]


def _range(series: list[Series]) -> tuple[float, float]:
    places = [x for one in series for x, _ in one.points]
    return min(places), max(places)
