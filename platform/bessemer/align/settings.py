"""What a recipe says about learning from preferences and from rewards, in TRL's words. Free of torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from bessemer.recipe.settings import Settings


class Dpo(Settings):
    """Direct preference optimization: the preferred answer likelier, the other less, both against the start."""

    beta: PositiveFloat = 0.1
    """How strongly the model is held to where it started; smaller lets it go further."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """The chance that a pair is the wrong way round."""


class Ipo(Settings):
    """Identity preference optimization: DPO that aims at a margin and not beyond, so that it overfits less."""

    beta: PositiveFloat = 0.1
    """Half of one over the margin aimed at, in nats a token."""


class Kto(Settings):
    """Kahneman-Tversky optimization: from single thumbs, up or down; a pair is one of each."""

    beta: PositiveFloat = 0.1
    """How strongly the model is held to where it started."""
    desirable_weight: NonNegativeFloat = 1.0
    """Weight of thumbs up; raise it where they are few."""
    undesirable_weight: NonNegativeFloat = 1.0
    """Weight of thumbs down; raise it where they are few."""


class Orpo(Settings):
    """Odds ratio preference optimization: fine-tuning on the preferred answers and preferring them, in one."""

    beta: PositiveFloat = 0.1
    """Weight of preferring against fine-tuning."""


Method = Dpo | Ipo | Kto | Orpo


class Sampling(Settings):
    """How the model writes the answers that it learns from."""

    temperature: float = Field(1.0, gt=0)
    """Divides the logits, while sampling and in the loss."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Samples from the likeliest tokens that together have this probability."""
    top_k: NonNegativeInt = 0
    """Samples from this many of the likeliest tokens; 0 from all."""
    max_completion_length: PositiveInt = 256
    """Tokens of an answer at most."""
    mask_truncated_completions: bool = False
    """Whether answers that did not come to an end are left out of the loss."""
    num_iterations: PositiveInt = 1
    """Updates with each batch of answers; with one, every update is on answers of the present model."""
    epsilon: float = Field(0.2, gt=0, lt=1)
    """By how much an update may lower a token's probability, relatively."""
    epsilon_high: float = Field(0.28, gt=0)
    """By how much it may raise it."""
    delta: float | None = Field(None, gt=1)
    """Bounds the ratio from above also where an answer was bad (dual clip)."""
    track_kl: bool = True
    """Whether the distance from where the model began is recorded, for a forward pass more; a penalty needs it too."""


class Grpo(Sampling):
    """Group relative policy optimization: answers to one prompt compared with each other."""

    num_generations: int = Field(8, ge=2)
    """Answers to each prompt; one alone would have nothing to be compared with."""
    beta: NonNegativeFloat = 0.0
    """Weight of the distance from where the model began."""
    loss_type: Literal["dapo", "grpo", "dr_grpo"] = "dapo"
    """A mean over all tokens of the batch (`dapo`), over answers each by its tokens, or over answers by a constant."""
    scale_rewards: Literal["none", "group"] = "none"
    """What advantages are divided by: nothing, or the standard deviation of the group's rewards."""
    num_refills: NonNegativeInt = 1
    """Times that groups whose answers are all worth the same are left out and other prompts asked in their place."""


class Ppo(Sampling):
    """Proximal policy optimization: a second model, the critic, says what to expect; what exceeds it is good."""

    num_generations: PositiveInt = 1
    """Answers to each prompt."""
    epsilon_high: float = Field(0.2, gt=0)
    """By how much an update may raise a token's probability, relatively."""
    kl_coef: NonNegativeFloat = 0.05
    """What each token pays for its distance from where the model began."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount of what comes later."""
    lam: float = Field(1.0, ge=0, le=1)
    """1 trusts the rewards, 0 the critic."""
    vf_coef: PositiveFloat = 0.5
    """Weight of the critic's loss."""
    cliprange_value: PositiveFloat = 0.2
    """By how much an update may change what the critic says."""
    critic_learning_rate_ratio: PositiveFloat = 10.0
    """The critic's learning rates over the model's."""
