"""Conditions on scores that stop the run if they do not hold: `require: {questions/acc: ">= 0.3"}`.

| left side | meaning |
|---|---|
| `questions/acc` | a metric of a task, for the last of the models |
| `pretrain/questions/acc` | the same metric for the model `pretrain` |
| `align - pretrain/questions/acc` | the score of `align` minus the score of `pretrain` |

The right side is `>=`, `>`, `<=` or `<` and a number.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bessemer.errors import RequirementNotMet, UsageError
from bessemer.evaluate.compare import Comparison
from bessemer.evaluate.scores import Score
from bessemer.recipe.problems import nearest

RELATIONS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
_EXPRESSION = re.compile(r"\s*(>=|<=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
_NAME = r"[A-Za-z0-9_-]+"
_METRIC = re.compile(rf"(?:{_NAME}(?: - {_NAME})?/)?{_NAME}/[^\s/]+")


@dataclass(frozen=True)
class Requirement:
    """A metric, a relation and a bound."""

    metric: str
    relation: str
    bound: float

    @classmethod
    def parse(cls, metric: str, expression: str) -> Requirement:
        """Parses both sides. Raises ValueError if either is malformed."""
        found = _EXPRESSION.fullmatch(expression)
        if not _METRIC.fullmatch(metric):
            raise ValueError(
                f"`{metric}` does not name a metric: write `task/metric`, `model/task/metric` or `b - a/task/metric`"
            )
        if not found:
            raise ValueError(f'`{expression}` of `{metric}` is not a condition: write for example ">= 0.3"')
        return cls(metric, found[1], float(found[2]))

    def holds(self, value: float) -> bool:
        return bool(RELATIONS[self.relation](value, self.bound))


@dataclass(frozen=True)
class Measurement:
    """A value with its standard error, if it has one."""

    value: float
    standard_error: float | None

    def __str__(self) -> str:
        return f"{self.value:.4g}" + (f" ± {self.standard_error:.2g}" if self.standard_error is not None else "")


def measurements(
    scores: Sequence[tuple[str, str, Score]], comparisons: Sequence[Comparison], *, last: str
) -> dict[str, Measurement]:
    """Returns name -> measurement for every name that `require` can use.

    `scores` are (model, task, score). Metrics of the model `last` are also listed without the model's name.
    """
    found = {}
    for model, task, score in scores:
        if score.group is not None:
            continue
        measured = Measurement(score.value, score.standard_error)
        found[f"{model}/{task}/{score.metric}"] = measured
        if model == last:
            found[f"{task}/{score.metric}"] = measured
    for one in comparisons:
        name = f"{one.task}/{one.metric}"
        found[f"{one.model_b} - {one.model_a}/{name}"] = Measurement(one.difference, one.standard_error)
        found[f"{one.model_a} - {one.model_b}/{name}"] = Measurement(-one.difference, one.standard_error)
    return found


def check_names(requirements: Sequence[Requirement], tasks: Collection[str], models: Collection[str]) -> None:
    """Raises UsageError if a requirement names a task or model that is not evaluated. Runs before the evaluation."""
    for requirement in requirements:
        *named, task, _ = requirement.metric.split("/")
        models_named = named[0].split(" - ") if named else []
        for kind, name, known in (*(("model", model, models) for model in models_named), ("task", task, tasks)):
            if name not in known:
                raise UsageError(
                    f"`require` names the {kind} `{name}`, which is not evaluated", hint=nearest(name, known)
                )


def check(requirements: Sequence[Requirement], known: Mapping[str, Measurement]) -> None:
    """Raises RequirementNotMet with all requirements that do not hold, and UsageError for an unknown metric."""
    for requirement in requirements:
        if requirement.metric not in known:
            raise UsageError(
                f"`require` names `{requirement.metric}`, which was not measured",
                hint=nearest(requirement.metric, known),
            )
    unmet = [requirement for requirement in requirements if not requirement.holds(known[requirement.metric].value)]
    if unmet:
        listed = "; ".join(
            f"`{one.metric}` is {known[one.metric]}, wanted {one.relation} {one.bound:g}" for one in unmet
        )
        what = "1 requirement is" if len(unmet) == 1 else f"{len(unmet)} requirements are"
        raise RequirementNotMet(
            f"{what} not met: {listed}", hint="the scores are saved: look at the report, or change `require`"
        )
