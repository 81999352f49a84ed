"""Computes the total reward of answers: the rules and functions of the recipe, and a reward model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bessemer.align.preference_trees import of_answers
from bessemer.align.prompt_trees import PromptTree
from bessemer.align.reward_model_objective import answer_rewards
from bessemer.align.reward_scoring import Scorer, Scores
from bessemer.align.rewards import RewardSample
from bessemer.align.rollouts import Rollout
from bessemer.model.transformer import Transformer
from bessemer.train.workers import Workers


@dataclass(frozen=True)
class TotalReward:
    """Adds the rewards of `scorer` and `model_weight` times the rewards of `model`; one of the two can be None."""

    scorer: Scorer | None
    model: Transformer | None
    model_weight: float = 1.0

    def __call__(self, samples: Sequence[RewardSample], rollouts: Sequence[Rollout]) -> Scores:
        scores = self.scorer(samples) if self.scorer is not None else Scores([0.0] * len(samples), {})
        if self.model is None:
            return scores
        judged = self._judged(rollouts)
        failures = list(scores.failures)
        if unknown := sum(not math.isfinite(value) for value in judged):
            failures.append(f"the reward model returned NaN or infinity for {unknown} of {len(judged)} answers")
            judged = [value if math.isfinite(value) else math.nan for value in judged]
        totals = [reward + self.model_weight * value for reward, value in zip(scores.rewards, judged, strict=True)]
        return Scores(totals, scores.by_reward | {"reward_model": judged}, failures)

    def _judged(self, rollouts: Sequence[Rollout]) -> list[float]:
        assert self.model is not None
        trees = [
            PromptTree(np.array(rollout.prompt.tokens, np.int64), (np.array(rollout.tokens, np.int64),))
            for rollout in rollouts
        ]
        alone = Workers(0, 1, self.model.embed_tokens.device)
        found: list[float] = of_answers(partial(answer_rewards, self.model), trees, alone)[:, 0].tolist()
        return found
