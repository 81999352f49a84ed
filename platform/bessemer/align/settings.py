"""Settings of a recipe for preference losses and policy gradients, with TRL's names. Does not import torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from bessemer.recipe.settings import Settings

if TYPE_CHECKING:
    from bessemer.align.preference_losses import AnswerPairs
    from bessemer.train.objectives.base import Loss


class PairMethod(Settings, ABC):
    """The settings of a loss over pairs of answers, and the loss. A new loss is a subclass, and a field of `align`."""

    uses_reference: ClassVar[bool] = True
    """Whether `pairs.reference` is needed: log-probabilities under the model before training."""

    @abstractmethod
    def loss(self, pairs: AnswerPairs) -> Loss:
        """The loss, summed over pairs. Imports torch itself, because a plan reads the settings."""


class Dpo(PairMethod):
    """Direct preference optimization: makes chosen answers likelier than rejected ones, relative to a reference."""

    beta: PositiveFloat = 0.1
    """Strength of the pull towards the model before training. A smaller value allows larger changes."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Assumed probability that a pair is in the wrong order."""

    def loss(self, pairs: AnswerPairs) -> Loss:
        from bessemer.align.preference_losses import dpo

        return dpo(pairs.chosen, pairs.rejected, *pairs.reference, beta=self.beta, label_smoothing=self.label_smoothing)


class Ipo(PairMethod):
    """Identity preference optimization: like DPO, but with a target margin, so that it overfits less."""

    beta: PositiveFloat = 0.1
    """Sets the target margin, which is 1 / (2 beta) nats per token."""

    def loss(self, pairs: AnswerPairs) -> Loss:
        from bessemer.align.preference_losses import ipo

        return ipo(pairs.chosen, pairs.rejected, *pairs.reference, *pairs.lengths, beta=self.beta)


class Kto(Settings):
    """Kahneman-Tversky optimization: from single answers labelled as desirable or not. A pair counts as one of each."""

    beta: PositiveFloat = 0.1
    """Strength of the pull towards the model before training."""
    desirable_weight: NonNegativeFloat = 1.0
    """Weight of desirable answers. Raise it if they are few."""
    undesirable_weight: NonNegativeFloat = 1.0
    """Weight of undesirable answers. Raise it if they are few."""


class Orpo(PairMethod):
    """Odds ratio preference optimization: fine-tuning on chosen answers plus a preference term, without a reference."""

    beta: PositiveFloat = 0.1
    """Weight of the preference term relative to the fine-tuning term."""
    uses_reference: ClassVar[bool] = False

    def loss(self, pairs: AnswerPairs) -> Loss:
        from bessemer.align.preference_losses import orpo

        return orpo(pairs.chosen, pairs.rejected, *pairs.lengths, beta=self.beta)


Method = PairMethod | Kto


class Sampling(Settings):
    """Settings that GRPO and PPO share: how answers are sampled, and the clipping of the loss."""

    temperature: float = Field(1.0, gt=0)
    """Divides the logits, both in sampling and in the loss."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Samples from the smallest set of most likely tokens with at least this total probability."""
    top_k: NonNegativeInt = 0
    """Samples from this number of most likely tokens; 0: from all tokens."""
    max_completion_length: PositiveInt = 256
    """Maximum number of tokens of an answer."""
    mask_truncated_completions: bool = False
    """Whether the loss leaves out answers that do not end within `max_completion_length`."""
    num_iterations: PositiveInt = 1
    """Number of updates per batch of answers. With 1, every update uses answers of the current model."""
    epsilon: float = Field(0.2, gt=0, lt=1)
    """Clip range below: an update may lower a token's probability by this fraction."""
    epsilon_high: float = Field(0.28, gt=0)
    """Clip range above: an update may raise a token's probability by this fraction."""
    delta: float | None = Field(None, gt=1)
    """Upper bound of the probability ratio for tokens with a negative advantage (dual clip). Default: none."""
    track_kl: bool = True
    """Whether to record the KL divergence from the model before training, at the cost of one more forward pass. A KL
    penalty needs this pass too."""


class Grpo(Sampling):
    """Group relative policy optimization: compares the answers to one prompt with each other."""

    num_generations: int = Field(8, ge=2)
    """Number of answers per prompt, at least 2."""
    beta: NonNegativeFloat = 0.0
    """Weight of the KL divergence from the model before training."""
    loss_type: Literal["dapo", "grpo", "dr_grpo"] = "dapo"
    """The loss is a mean over all tokens of the batch (`dapo`), a mean over answers of their means over tokens
    (`grpo`), or a mean over answers of their sums over tokens divided by `max_completion_length` (`dr_grpo`)."""
    scale_rewards: Literal["none", "group"] = "none"
    """Divisor of the advantages: `none`, or the standard deviation of the rewards in the `group`."""
    num_refills: NonNegativeInt = 1
    """Maximum number of times that a batch replaces groups without differences in reward by groups of other prompts."""


class Ppo(Sampling):
    """Proximal policy optimization: compares rewards with the predictions of a second model, the critic."""

    num_generations: PositiveInt = 1
    """Number of answers per prompt."""
    epsilon_high: float = Field(0.2, gt=0)
    """Clip range above: an update may raise a token's probability by this fraction."""
    kl_coef: NonNegativeFloat = 0.05
    """Weight of the KL divergence from the model before training, which is subtracted from the reward of each token."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount factor of later rewards."""
    lam: float = Field(1.0, ge=0, le=1)
    """Trade-off of the advantage estimate: 1 relies on the sampled rewards, 0 on the critic."""
    vf_coef: PositiveFloat = 0.5
    """Weight of the critic's loss."""
    cliprange_value: PositiveFloat = 0.2
    """Clip range of the critic: an update may change its prediction by this amount."""
    critic_learning_rate_ratio: PositiveFloat = 10.0
    """Learning rates of the critic, relative to those of the model."""
