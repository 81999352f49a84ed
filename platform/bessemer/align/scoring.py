"""Several rewards of the same answers, added up; failures are counted and told, and end nothing.

with Scorer(rewards) as scorer:
    scorer.check(sample)              # before the training: mistakes of the user's are errors here
    scores = scorer(samples)          # .rewards, .by_reward, .failures
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from bessemer.align.apart import FunctionFailed
from bessemer.align.rewards import Reward, Sample, Score
from bessemer.errors import InputError, UsageError
from bessemer.recipe.problems import nearest


@dataclass(frozen=True)
class Scores:
    """The rewards of a batch of answers."""

    rewards: list[float]
    """By answer, the sum of weights times rewards; not a number where one of them could not be had."""
    by_reward: dict[str, list[float]]
    """By reward and answer, before weights."""
    failures: list[str] = field(default_factory=list)
    """What went wrong, in words."""


class Scorer:
    """Rewards that are open; no two have one label."""

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

    def check(self, sample: Sample) -> None:
        """Scores one answer. Raises UsageError for a missing column, InputError for a function that does not work."""
        if found := self.lacks(sample.row):
            label, column = found
            raise UsageError(
                f"the reward `{label}` reads the column `{column}`, and the prompts have none that it can read",
                hint=nearest(column, sample.row) or "put it beside the conversation, in its row",
            )
        failures = self([sample]).failures
        if failures:
            raise InputError(failures[0], hint="mend it; it was called with one answer, before anything else")

    def lacks(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """The first reward that cannot score answers to a prompt with this row, and the column that it would need."""
        return next(((reward.label, column) for reward in self._rewards if (column := reward.lacks(row))), None)

    def __call__(self, samples: Sequence[Sample]) -> Scores:
        by_reward: dict[str, list[float]] = {}
        failures: list[str] = []
        for label, score in self._scores.items():
            try:
                found = score(samples)
            except FunctionFailed as error:
                failures.append(f"the reward `{label}` failed: {error}")
                found = [None] * len(samples)
            by_reward[label] = [math.nan if value is None or not math.isfinite(value) else value for value in found]
        weights = {reward.label: reward.weight for reward in self._rewards}
        totals = [sum(weights[label] * by_reward[label][n] for label in by_reward) for n in range(len(samples))]
        return Scores(totals, by_reward, failures)
