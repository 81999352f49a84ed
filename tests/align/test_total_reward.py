"""Tests the total reward of an answer: rules plus a weighted reward model. A score that is not finite is a failure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from bessemer.align.reward_scoring import Scorer, Scores
from bessemer.align.rewards import RewardSample
from bessemer.align.rollouts import Prompt, Rollout
from bessemer.align.total_reward import TotalReward

SAMPLES = [RewardSample("?", text, 1, {}) for text in ("a", "b", "c")]
ROLLOUTS = [Rollout(Prompt(0, (1,), (0,)), n, (2,), (0.0,), (0.0,), "stop") for n in range(3)]


@dataclass(frozen=True)
class Scripted(TotalReward):
    """A judge whose reward model returns `scores`."""

    scores: Sequence[float] = ()

    def _judged(self, rollouts: Sequence[Rollout]) -> list[float]:
        return list(self.scores)


def judge(*scores: float) -> Scripted:
    scorer: Any = lambda samples: Scores([1.0, 2.0, 3.0], {"rule": [1.0, 2.0, 3.0]}, ["the rule was slow"])  # noqa: E731
    return Scripted(cast(Scorer, scorer), cast(Any, "a model"), 0.5, scores)


def test_the_reward_model_is_weighed_and_added() -> None:
    found = judge(4.0, -2.0, 0.0)(SAMPLES, ROLLOUTS)
    assert found.rewards == [3.0, 1.0, 3.0]
    assert found.by_reward == {"rule": [1.0, 2.0, 3.0], "reward_model": [4.0, -2.0, 0.0]}
    assert found.failures == ["the rule was slow"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_none(bad: float) -> None:
    found = judge(4.0, bad, 0.0)(SAMPLES, ROLLOUTS)
    assert found.rewards == [3.0, pytest.approx(math.nan, nan_ok=True), 3.0]
    assert found.failures == ["the rule was slow", "the reward model returned NaN or infinity for 1 of 3 answers"]
