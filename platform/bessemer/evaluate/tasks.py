"""Tasks, as a recipe declares them: which data, put to the model how, scored how. Free of torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from bessemer.generate.settings import GenerationSettings
from bessemer.recipe.settings import Settings, execution

HeldOutSplit = Literal["validation", "test"]


class BitsPerByte(Settings):
    """How well the model predicts held-out text: bits per byte and perplexity, in all and for each source."""

    kind: Literal["bits_per_byte"]
    """The kind of task."""
    split: HeldOutSplit = "test"
    """The split of the token store that is read."""
    num_tokens: PositiveInt = 1_048_576
    """Tokens to predict at most: evenly spread windows, or all there are."""
    stride: PositiveInt | None = None
    """Tokens from one window to the next; less than the model's context gives each token more of the text before
    it, at the price of as many more passes. Windows stand end to end if unset, as in validation."""


class MultipleChoice(Settings):
    """Which of several texts the model finds likeliest after a query: `acc`, `acc_norm`, `acc_mutual_info`."""

    kind: Literal["multiple_choice"]
    """The kind of task."""
    dataset: str | None = execution(None)
    """JSON lines of `query`, `choices` and `gold` (the right choice, from 0); the `questions` artifact if unset."""
    target_delimiter: str = ""
    """Stands between query and choice."""
    limit: PositiveInt | None = None
    """Questions to ask at most, from the first."""


class Samples(Settings):
    """What the model writes: for people to read, not scored."""

    kind: Literal["samples"]
    """The kind of task."""
    prompts: tuple[str, ...] = ()
    """Texts to continue; the beginnings of held-out documents if there are none."""
    split: HeldOutSplit = "test"
    """The split whose documents are begun."""
    num_samples: PositiveInt = 8
    """Documents to begin."""
    prompt_tokens: PositiveInt = 32
    """Tokens of a document that the model is given."""
    generation: GenerationSettings = GenerationSettings(max_new_tokens=64)
    """How they are continued."""


Task = Annotated[BitsPerByte | MultipleChoice | Samples, Field(discriminator="kind")]
