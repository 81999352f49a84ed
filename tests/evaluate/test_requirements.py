"""Requirements are parsed and checked correctly, and the error names all requirements that do not hold."""

from __future__ import annotations

import pytest

from bessemer.errors import RequirementNotMet, UsageError
from bessemer.evaluate.compare import Comparison
from bessemer.evaluate.requirements import Requirement, check, check_names, measurements
from bessemer.evaluate.scores import Score

SCORES = [
    ("base", "questions", Score("acc", 0.25, 0.02, 100)),
    ("tuned", "questions", Score("acc", 0.5, 0.025, 100)),
    ("tuned", "questions", Score("acc", 0.9, None, 1, group="easy")),
]
COMPARISON = Comparison(
    "questions", "acc", "base", "tuned", 0.25, 0.5, 0.25, 0.6, 0.03, 0.19, 0.31, 0.001, True, 100, 99, 0
)
KNOWN = measurements(SCORES, [COMPARISON], last="tuned")


@pytest.mark.parametrize(
    ("metric", "expression", "holds"),
    [
        ("questions/acc", ">= 0.5", True),
        ("questions/acc", "> 0.5", False),
        ("questions/acc", "<0.51", True),
        ("base/questions/acc", ">= 0.3", False),
        ("tuned - base/questions/acc", ">= -1e-2", True),
        ("base - tuned/questions/acc", "<= -.25", True),
    ],
)
def test_conditions(metric: str, expression: str, *, holds: bool) -> None:
    requirement = Requirement.parse(metric, expression)
    assert requirement.holds(KNOWN[metric].value) is holds


@pytest.mark.parametrize(
    ("metric", "expression"),
    [
        ("questions/acc", "0.3"),
        ("questions/acc", ">= x"),
        ("questions/acc", "== 1"),
        ("acc", "> 1"),
        ("a+b/c/d", "> 1"),
    ],
)
def test_what_is_no_condition_is_refused(metric: str, expression: str) -> None:
    with pytest.raises(ValueError, match=r"is not a condition|does not name a metric"):
        Requirement.parse(metric, expression)


def test_metrics_have_names_of_their_own_kind() -> None:
    assert Requirement.parse("human_eval/pass@10", "> 0.1").metric == "human_eval/pass@10"


def test_the_error_names_every_requirement_that_does_not_hold() -> None:
    wanted = {"questions/acc": ">= 0.6", "base/questions/acc": "> 0", "tuned - base/questions/acc": "> 0.3"}
    with pytest.raises(RequirementNotMet) as caught:
        check([Requirement.parse(*item) for item in wanted.items()], KNOWN)
    assert caught.value.message == (
        "2 requirements are not met: `questions/acc` is 0.5 ± 0.025, wanted >= 0.6; "
        "`tuned - base/questions/acc` is 0.25 ± 0.03, wanted > 0.3"
    )


def test_an_unknown_metric_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="`questions/acd`, which was not measured") as caught:
        check([Requirement.parse("questions/acd", "> 0")], KNOWN)
    assert caught.value.hint == "did you mean `questions/acc`?"


@pytest.mark.parametrize(
    ("metric", "complaint", "hint"),
    [
        ("question/acc", "the task `question`", "did you mean `questions`?"),
        ("bass/questions/acc", "the model `bass`", "did you mean `base`?"),
        ("tuned - bases/questions/acc", "the model `bases`", "did you mean `base`?"),
    ],
)
def test_what_is_not_evaluated_is_said_before_anything_runs(metric: str, complaint: str, hint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        check_names([Requirement.parse(metric, "> 0")], ["questions"], ["base", "tuned"])
    assert caught.value.hint == hint
