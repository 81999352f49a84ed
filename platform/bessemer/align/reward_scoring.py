"""Adds up several rewards of the same answers. A reward that fails is reported and does not end the training.

with Scorer(rewards) as scorer:
    scorer.check(sample)              # before training: here a failing reward is an error
    scores = scorer(samples)          # .rewards, .by_reward, .failures
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from bessemer.align.function_process import FunctionProcessFailed
from bessemer.align.rewards import Reward, RewardSample, Score
from bessemer.errors import InputError, UsageError
from bessemer.recipe.problems import nearest


@dataclass(frozen=True)
class Scores:
    """The rewards of a batch of answers."""

    rewards: list[float]
    """Per answer, the weighted sum of its rewards; NaN if a reward is missing."""
    by_reward: dict[str, list[float]]
    """Rewards before weighting, by label and answer."""
    failures: list[str] = field(default_factory=list)
    """Error messages of rewards that failed."""


class Scorer:
    """Scores answers with several rewards, whose labels are distinct. Use it as a context manager."""

    def __init__(self, rewards: Sequence[Reward]) -> None:
        assert len({reward.label for reward in rewards}) == len(rewards) > 0
        self._rewards = rewards
        self._open = ExitStack()
        self._scores: dict[str, Score] = {}

    def __enter__(self) -> Scorer:
        self._scores = {reward.label: self._open.enter_context(reward.open()) for reward in self._rewards}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._open.close()

    def check(self, sample: RewardSample) -> None:
        """Scores one answer. Raises UsageError if a column is missing, InputError if a reward function fails."""
        if found := self.lacks(sample.row):
            label, column = found
            raise UsageError(
                f"the reward `{label}` reads the column `{column}`, which is missing or unreadable in a prompt's row",
                hint=nearest(column, sample.row) or "add the column to the rows of the conversations",
            )
        failures = self([sample]).failures
        if failures:
            raise InputError(failures[0], hint="fix the function; it failed on one answer, before training started")

    def lacks(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """(label, column) of the first reward that needs a column which this row lacks, or None."""
        return next(((reward.label, column) for reward in self._rewards if (column := reward.lacks(row))), None)

    def __call__(self, samples: Sequence[RewardSample]) -> Scores:
        by_reward: dict[str, list[float]] = {}
        failures: list[str] = []
        for label, score in self._scores.items():
            try:
                found = score(samples)
            except FunctionProcessFailed as error:
                failures.append(f"the reward `{label}` failed: {error}")
                found = [None] * len(samples)
            by_reward[label] = [math.nan if value is None or not math.isfinite(value) else value for value in found]
        weights = {reward.label: reward.weight for reward in self._rewards}
        totals = [sum(weights[label] * by_reward[label][n] for label in by_reward) for n in range(len(samples))]
        return Scores(totals, by_reward, failures)
