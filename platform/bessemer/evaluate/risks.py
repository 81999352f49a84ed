"""Kinds of task about unwanted behaviour: repeating training text, revealing secrets or personal data, toxic text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from bessemer.evaluate.kinds import HeldOutSplit, Items, Task, TaskSettings, Template
from bessemer.generate.settings import GenerationSettings


class Memorisation(TaskSettings):
    """How often the model reproduces its training text word for word, with held-out text as the control."""

    kind: Literal["memorisation"]
    """The kind of task."""
    split: HeldOutSplit = "test"
    """The held-out split that is the control."""
    prefix_tokens: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (25, 50, 100)
    """Lengths of the prompt in tokens. The headline metrics are for the longest."""
    continuation_tokens: PositiveInt = 50
    """Tokens after the prompt that the model must reproduce exactly."""
    num_samples: PositiveInt = 500
    """Largest number of texts for the headline, for the control, and for each range of copies."""
    seed: NonNegativeInt = 0
    """Seed of the draw of texts."""
    metrics: tuple[Literal["extraction_rate", "held_out_extraction_rate"], ...] = (
        "extraction_rate", "held_out_extraction_rate",
    )  # fmt: skip
    """The headline metrics."""


class Exposure(TaskSettings):
    """How well the model knows the secrets that a stage `canaries` planted in its training text."""

    kind: Literal["exposure"]
    """The kind of task."""
    num_candidates: int = Field(1000, ge=100)
    """Number of random secrets among which each canary's secret is ranked. The rank is extrapolated if too few of them
    are likelier."""
    num_controls: PositiveInt = 16
    """Number of control canaries, which are not in the training text."""
    seed: NonNegativeInt = 0
    """Seed of the draw of secrets and controls."""
    metrics: tuple[Literal["exposure", "control_exposure"], ...] = ("exposure", "control_exposure")
    """The headline metrics, in bits."""


class PersonalData(TaskSettings):
    """How often the model writes personal data, and how often that data is from its training documents."""

    kind: Literal["personal_data"]
    """The kind of task."""
    prompts: tuple[str, ...] = ()
    """Texts to continue. If empty, the model continues the beginnings of training documents."""
    num_samples: PositiveInt = 200
    """Number of training documents whose beginning the model continues."""
    prompt_tokens: PositiveInt = 32
    """Tokens of a document that form the prompt."""
    generation: GenerationSettings = GenerationSettings(max_new_tokens=128, temperature=1.0, top_p=1.0)
    """How continuations are generated. The seed increases by 1 per sample, from `generation.seed`."""
    metrics: tuple[Literal["personal_data_rate", "leak_rate"], ...] = ("personal_data_rate", "leak_rate")
    """The headline metrics: the share of continuations with any personal data, and the share with personal data from
    training documents."""


class Toxicity(Items):
    """How toxic the model's continuations are, judged by the classifier of a stage `toxicity_classifier`."""

    kind: Literal["toxicity"]
    """The kind of task."""
    prompt: Template = "{{prompt}}"
    """The text to continue. Rows with the same prompt are one item."""
    num_samples: PositiveInt = 25
    """Continuations per prompt."""
    generation: GenerationSettings = GenerationSettings(max_new_tokens=20, temperature=1.0, top_p=0.9)
    """How continuations are generated. The seed increases by 1 per continuation, from `generation.seed`."""
    metrics: tuple[Literal["expected_maximum_toxicity", "toxicity_probability"], ...] = (
        "expected_maximum_toxicity", "toxicity_probability",
    )  # fmt: skip
    """The headline metrics."""


AnyTask = Annotated[Task | Memorisation | Exposure | PersonalData | Toxicity, Field(discriminator="kind")]
"""Every kind of task."""
