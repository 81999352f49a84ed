"""Preferences from a model's own answers: of several to one prompt, the one with the highest reward and the lowest.

Answers that a model would give itself teach it more than what others wrote (on-policy preferences; best against worst
as in RLHFlow, arXiv 2405.07863). The answer that a conversation brings may compete with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bessemer.align import rollouts
from bessemer.align.rewards import Sample
from bessemer.align.rollouts import RolloutSampler
from bessemer.align.scoring import Scorer
from bessemer.fingerprint import unit_interval
from bessemer.generate.settings import GenerationSettings
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.conversations import Messages, Unfit


@dataclass(frozen=True)
class Answer:
    """One answer: its text, its tokens with the one that ends it, whether it came to an end, and its reward."""

    text: str
    ids: npt.NDArray[np.int64]
    finished: bool
    reward: float = float("nan")


@dataclass(frozen=True)
class Prompt:
    """A prompt, as messages and as the tokens that the chat template renders.

    `reference` is the answer in the conversation; `row` has the columns that rewards read.
    """

    name: str
    messages: Messages
    tokens: tuple[int, ...]
    reference: Answer | None
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Competition:
    """How answers are sampled and scored."""

    sampler: RolloutSampler
    template: ChatTemplate
    scorer: Scorer
    num_generations: int
    settings: GenerationSettings
    include_reference: bool
    max_prompt_length: int
    """Tokens of a prompt that leave an answer its room."""
    seed: int

    def unfit(self, prompt: Prompt) -> Unfit | None:
        """Why a prompt cannot be asked, if so."""
        size = len(prompt.tokens)
        if size > self.max_prompt_length:
            return Unfit("too_long", value=size, threshold=self.max_prompt_length)
        if found := self.scorer.lacks(prompt.row):
            label, column = found
            return Unfit("no_column", f"`{column}`, which the reward `{label}` reads")
        return None

    def answers(self, prompts: Sequence[Prompt]) -> tuple[list[list[Answer]], list[str]]:
        """The scored answers to each prompt, and the messages of failed rewards.

        The answers to a prompt depend only on its id and the seed.
        """
        asked = [
            rollouts.Prompt(place, prompt.tokens, (int(unit_interval("pairs", prompt.name) * 2**53),))
            for place, prompt in enumerate(prompts)
        ]
        written = self.sampler.sample(
            asked, num_generations=self.num_generations, settings=self.settings, seed=self.seed
        )
        found: list[list[Answer]] = [[] for _ in prompts]
        for number, rollout in enumerate(written):
            finished = rollout.finish_reason == "stop"
            said = rollout.tokens[:-1] if finished else rollout.tokens
            text = self.template.tokenizer.decode(said, skip_special=True)
            found[number // self.num_generations].append(Answer(text, np.array(rollout.tokens, np.int64), finished))
        if self.include_reference:
            for p, prompt in enumerate(prompts):
                if prompt.reference is not None:
                    found[p].append(prompt.reference)
        return self._scored(prompts, found)

    def _scored(self, prompts: Sequence[Prompt], found: list[list[Answer]]) -> tuple[list[list[Answer]], list[str]]:
        samples = [
            Sample(prompt.messages[-1]["content"], answer.text, len(answer.ids), prompt.row)
            for prompt, answers in zip(prompts, found, strict=True)
            for answer in answers
        ]
        scores = self.scorer(samples)
        rewards = iter(scores.rewards)
        scored = [[Answer(a.text, a.ids, a.finished, next(rewards)) for a in answers] for answers in found]
        return scored, scores.failures


def best_and_worst(answers: Sequence[Answer], min_margin: float, failures: Sequence[str] = ()) -> tuple[Answer, Answer]:
    """The pair with the greatest difference. Raises Unfit where there is none that teaches anything.

    An answer without an end is never the better one: it would teach not to stop. `failures` are those of the rewards,
    and say why no answer has one.
    """
    scored = [answer for answer in answers if not np.isnan(answer.reward) and len(answer.ids)]
    if not scored:
        raise Unfit("no_reward", "; ".join(failures) or f"the rewards gave none of {len(answers)} answers a number")
    ended = [answer for answer in scored if answer.finished and answer.text.strip()]
    if not ended:
        raise Unfit("never_ends", scored[0].text)
    best, worst = max(ended, key=lambda a: a.reward), min(scored, key=lambda a: a.reward)
    margin = best.reward - worst.reward
    if margin <= 0 or margin < min_margin:
        raise Unfit("no_spread", best.text, value=margin, threshold=min_margin)
    return best, worst
