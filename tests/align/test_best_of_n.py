"""Tests the choice of a preference pair: the best finished answer against the worst answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bessemer.align.best_of_n import RankedAnswer, best_and_worst
from bessemer.artifacts.ledger import Removed


def answer(text: str, reward: float, *, finished: bool = True) -> RankedAnswer:
    return RankedAnswer(text, np.array([len(text)]), finished, reward)


def test_the_pair_is_the_best_that_ended_and_the_worst() -> None:
    answers = [
        answer("good", 2.0), answer("better, but endless", 3.0, finished=False), answer(" ", 4.0),
        answer("bad", -1.0), answer("unscored", math.nan), answer("middle", 1.0),
    ]  # fmt: skip
    best, worst = best_and_worst(answers, min_margin=3.0)
    assert (best.text, worst.text) == ("good", "bad")


@pytest.mark.parametrize(
    ("answers", "min_margin", "rule"),
    [
        ([answer("a", 1.0), answer("b", 1.0)], 0.0, "no_spread"),
        ([answer("a", 1.0), answer("b", 0.5)], 0.6, "no_spread"),
        ([answer("a", 1.0, finished=False), answer("b", 0.5, finished=False)], 0.0, "never_ends"),
        ([answer("a", math.nan), answer("b", math.nan)], 0.0, "no_reward"),
    ],
)
def test_answers_that_teach_nothing_are_no_pair(answers: list[RankedAnswer], min_margin: float, rule: str) -> None:
    with pytest.raises(Removed) as caught:
        best_and_worst(answers, min_margin)
    assert caught.value.rule == rule
