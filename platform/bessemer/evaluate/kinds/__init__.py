"""The kinds of task. A file holds one kind: its settings, its items and its score.

A recipe or a file of `tasks/` declares a task with the settings of its kind. To register a kind, import its class here
and add it to `AnyTask`. The files import torch inside functions, so that a plan stays fast.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from bessemer.evaluate.kinds.bias_questions import BiasQuestions
from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.evaluate.kinds.code import Code
from bessemer.evaluate.kinds.exposure import Exposure
from bessemer.evaluate.kinds.generation import Generation
from bessemer.evaluate.kinds.language_modelling import LanguageModelling
from bessemer.evaluate.kinds.memorisation import Memorisation
from bessemer.evaluate.kinds.minimal_pairs import MinimalPairs
from bessemer.evaluate.kinds.multiple_choice import MultipleChoice
from bessemer.evaluate.kinds.personal_data import PersonalData
from bessemer.evaluate.kinds.samples import Samples
from bessemer.evaluate.kinds.schema import Schema
from bessemer.evaluate.kinds.stereotypes import Stereotypes
from bessemer.evaluate.kinds.toxicity import Toxicity
from bessemer.evaluate.task import Task

AnyTask = Annotated[
    BitsPerByte
    | MultipleChoice
    | Schema
    | LanguageModelling
    | MinimalPairs
    | Stereotypes
    | BiasQuestions
    | Generation
    | Code
    | Samples
    | Memorisation
    | Exposure
    | PersonalData
    | Toxicity,
    Field(discriminator="kind"),
]
"""A task of any kind."""

KINDS: tuple[type[Task], ...] = get_args(get_args(AnyTask)[0])
