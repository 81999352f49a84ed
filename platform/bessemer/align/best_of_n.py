"""Makes preference pairs from a model's own answers to a prompt: the highest reward against the lowest.

A model learns more from its own answers than from answers of others (on-policy preferences; best against worst as in
RLHFlow, arXiv 2405.07863). The reference answer of the conversation can take part too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bessemer.align import rollouts
from bessemer.align.reward_scoring import Scorer
from bessemer.align.rewards import RewardSample
from bessemer.align.rollouts import RolloutSampler
from bessemer.artifacts.ledger import Removed
from bessemer.fingerprint import unit_interval
from bessemer.generate.settings import GenerationSettings
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.conversations import Messages


@dataclass(frozen=True)
class RankedAnswer:
    """One answer: its text, its token ids with the stop token, whether it ended with a stop token, and its reward."""

    text: str
    ids: npt.NDArray[np.int64]
    finished: bool
    reward: float = float("nan")


@dataclass(frozen=True)
class PromptAnswers:
    """A prompt, as messages and as token ids from the chat template.

    `reference` is the answer in the conversation. `row` has the columns that rewards read.
    """

    name: str
    messages: Messages
    tokens: tuple[int, ...]
    reference: RankedAnswer | None
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Competition:
    """Samples answers to prompts and scores them."""

    sampler: RolloutSampler
    template: ChatTemplate
    scorer: Scorer
    num_generations: int
    settings: GenerationSettings
    include_reference: bool
    max_prompt_length: int
    """Maximum tokens of a prompt; longer prompts leave too little of the context for an answer."""
    seed: int

    def unfit(self, prompt: PromptAnswers) -> Removed | None:
        """The reason why a prompt cannot be used, or None."""
        size = len(prompt.tokens)
        if size > self.max_prompt_length:
            return Removed("too_long", value=size, threshold=self.max_prompt_length)
        if found := self.scorer.lacks(prompt.row):
            label, column = found
            return Removed("no_column", f"`{column}`, which the reward `{label}` reads")
        return None

    def answers(self, prompts: Sequence[PromptAnswers]) -> tuple[list[list[RankedAnswer]], list[str]]:
        """Returns the scored answers to each prompt, and the error messages of rewards.

        Apart from rounding, the answers to a prompt depend only on its name and the seed.
        """
        asked = [
            rollouts.Prompt(place, prompt.tokens, (int(unit_interval("pairs", prompt.name) * 2**53),))
            for place, prompt in enumerate(prompts)
        ]
        written = self.sampler.sample(
            asked, num_generations=self.num_generations, settings=self.settings, seed=self.seed
        )
        found: list[list[RankedAnswer]] = [[] for _ in prompts]
        for number, rollout in enumerate(written):
            finished = rollout.finish_reason == "stop"
            content = rollout.tokens[:-1] if finished else rollout.tokens
            text = self.template.tokenizer.decode(content, skip_special=True)
            found[number // self.num_generations].append(
                RankedAnswer(text, np.array(rollout.tokens, np.int64), finished)
            )
        if self.include_reference:
            for p, prompt in enumerate(prompts):
                if prompt.reference is not None:
                    found[p].append(prompt.reference)
        return self._scored(prompts, found)

    def _scored(
        self, prompts: Sequence[PromptAnswers], found: list[list[RankedAnswer]]
    ) -> tuple[list[list[RankedAnswer]], list[str]]:
        samples = [
            RewardSample(prompt.messages[-1]["content"], answer.text, len(answer.ids), prompt.row)
            for prompt, answers in zip(prompts, found, strict=True)
            for answer in answers
        ]
        scores = self.scorer(samples)
        rewards = iter(scores.rewards)
        scored = [[RankedAnswer(a.text, a.ids, a.finished, next(rewards)) for a in answers] for answers in found]
        return scored, scores.failures


def best_and_worst(
    answers: Sequence[RankedAnswer], min_margin: float, failures: Sequence[str] = ()
) -> tuple[RankedAnswer, RankedAnswer]:
    """Returns the pair with the greatest difference in reward. Raises Removed if no pair has enough of a difference.

    An unfinished answer is never the better one, because it would teach the model not to stop. `failures` are the error
    messages of the rewards, for the case that no answer has a reward.
    """
    scored = [answer for answer in answers if not np.isnan(answer.reward) and len(answer.ids)]
    if not scored:
        raise Removed("no_reward", "; ".join(failures) or f"the rewards gave none of {len(answers)} answers a number")
    ended = [answer for answer in scored if answer.finished and answer.text.strip()]
    if not ended:
        raise Removed("never_ends", scored[0].text)
    best, worst = max(ended, key=lambda a: a.reward), min(scored, key=lambda a: a.reward)
    margin = best.reward - worst.reward
    if margin <= 0 or margin < min_margin:
        raise Removed("no_spread", best.text, value=margin, threshold=min_margin)
    return best, worst
