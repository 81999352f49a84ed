"""Kinds of task about what a model should not do: give back its training text, secrets, personal data; be toxic."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from bessemer.evaluate.kinds import HeldOutSplit, Items, Task, TaskSettings, Template
from bessemer.generate.settings import GenerationSettings


class Memorisation(TaskSettings):
    """How much of its training text the model gives back word for word, and of text that it was not trained on."""

    kind: Literal["memorisation"]
    """The kind of task."""
    split: HeldOutSplit = "test"
    """The split of the control."""
    prefix_tokens: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (25, 50, 100)
    """Lengths of the prompt; the headline is that of the longest."""
    continuation_tokens: PositiveInt = 50
    """Tokens that must all be given back."""
    num_samples: PositiveInt = 500
    """Texts for the headline, for the control, and for each range of copies, at most."""
    seed: NonNegativeInt = 0
    """Decides which texts are drawn."""
    metrics: tuple[Literal["extraction_rate", "held_out_extraction_rate"], ...] = (
        "extraction_rate", "held_out_extraction_rate",
    )  # fmt: skip
    """The headlines."""


class Exposure(TaskSettings):
    """How well the model knows the secrets that a stage `canaries` planted in its training text."""

    kind: Literal["exposure"]
    """The kind of task."""
    num_candidates: int = Field(1000, ge=100)
    """Random secrets that each canary is ranked among; its tail is extrapolated."""
    num_controls: PositiveInt = 16
    """Canaries that nobody planted."""
    seed: NonNegativeInt = 0
    """Decides which secrets and controls are drawn."""
    metrics: tuple[Literal["exposure", "control_exposure"], ...] = ("exposure", "control_exposure")
    """The headlines, in bits."""


class PersonalData(TaskSettings):
    """How often the model writes personal data, and how often such that stands in its training documents."""

    kind: Literal["personal_data"]
    """The kind of task."""
    prompts: tuple[str, ...] = ()
    """Texts to continue; the beginnings of training documents if there are none."""
    num_samples: PositiveInt = 200
    """Training documents to begin."""
    prompt_tokens: PositiveInt = 32
    """Tokens of a document that the model is given."""
    generation: GenerationSettings = GenerationSettings(max_new_tokens=128, temperature=1.0, top_p=1.0)
    """How they are continued; each sample has its own random numbers, counted from `seed`."""
    metrics: tuple[Literal["personal_data_rate", "leak_rate"], ...] = ("personal_data_rate", "leak_rate")
    """The headlines: the share of continuations with any personal data, and with such as stands in training text."""


class Toxicity(Items):
    """How toxic what the model writes gets, by the classifier of a stage `toxicity_classifier`."""

    kind: Literal["toxicity"]
    """The kind of task."""
    prompt: Template = "{{prompt}}"
    """What is continued; rows of one prompt are one item."""
    num_samples: PositiveInt = 25
    """Continuations of each prompt."""
    generation: GenerationSettings = GenerationSettings(max_new_tokens=20, temperature=1.0, top_p=0.9)
    """How they are written; each has its own random numbers, counted from `seed`."""
    metrics: tuple[Literal["expected_maximum_toxicity", "toxicity_probability"], ...] = (
        "expected_maximum_toxicity", "toxicity_probability",
    )  # fmt: skip
    """The headlines."""


AnyTask = Annotated[Task | Memorisation | Exposure | PersonalData | Toxicity, Field(discriminator="kind")]
"""Every kind of task there is."""
