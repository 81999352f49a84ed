"""Report charts on memorisation: exposure of secrets against copies, repeated tokens against prompt length."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from markupsafe import Markup

from bessemer.report import charts
from bessemer.report.charts import Series
from bessemer.report.evaluation import Evaluation

MOST_MODELS = 2
"""Each model needs two lines, and a chart has four distinct line styles."""


def risk_charts(evaluation: Evaluation) -> Iterator[Markup]:
    """Charts of the last two models, each with its control."""
    tasks = list(dict.fromkeys(score.task for score in evaluation.scores))
    for task in tasks:
        series = []
        for model in evaluation.models[-MOST_MODELS:]:
            if points := _points(evaluation, model, task, "exposure", "copies", math.log2):
                key = (model, task, "control_exposure")
                control = next(s.value for s in evaluation.scores if (s.model, s.task, s.metric) == key)
                level = [(x, control) for x, _ in points]
                series += [_series(evaluation, "planted", model, points)]
                series += [_series(evaluation, "never planted", model, level)]
        if series:
            title, x_label = f"{task}: exposure of secrets (bits)", "log2 of the number of copies"
            yield charts.line_chart(series, title=title, x_label=x_label, x_range=_range(series), zero=True)
    for task in tasks:
        series = [
            _series(evaluation, label, model, points)
            for model in evaluation.models[-MOST_MODELS:]
            for label, metric in (("training text", "tokens_given_back"), ("held out", "held_out_tokens_given_back"))
            if (points := _points(evaluation, model, task, metric, "prefix", float))
        ]
        if series:
            title, x_label = f"{task}: tokens repeated before the first mismatch", "tokens of the prompt"
            yield charts.line_chart(series, title=title, x_label=x_label, x_range=_range(series), zero=True)


def _series(evaluation: Evaluation, label: str, model: str, points: list[tuple[float, float]]) -> Series:
    return Series(f"{label}, {model}" if len(evaluation.models) > 1 else label, points)


def _points(
    evaluation: Evaluation, model: str, task: str, metric: str, by: str, place: Callable[[float], float]
) -> list[tuple[float, float]]:
    """Points (x, value) of the groups named `<by> <number>`, with x = `place(number)`."""
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
