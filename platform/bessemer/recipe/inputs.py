"""The inputs of a stage: which kinds of artifact it reads, and which stage of a recipe supplies each.

A recipe maps input keys to the names of stages. The key is the kind, or `kind/stage` for a kind of which a stage reads
several artifacts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Input:
    """A kind of artifact that a stage reads. The nearest stage above that makes it supplies it, or `from` names one."""

    kind: str
    optional: bool = False
    """Whether the stage also runs if no stage above makes the kind."""
    explicit: bool = False
    """Whether the stage reads the kind only from stages that `from` names."""
    many: bool = False
    """Whether `from` may name several stages of this kind; the stage gets their artifacts in the order of `from`."""
    needed: Callable[[Any], bool] = lambda config: True
    """Whether the stage reads the kind with these settings."""

    @property
    def required(self) -> bool:
        """Whether a recipe without a stage that makes the kind is wrong."""
        return not self.optional and not self.explicit

    def key(self, stage: str) -> str:
        """The input key of the artifact that `stage` makes."""
        return f"{self.kind}/{stage}" if self.many else self.kind


def kind_of(key: str) -> str:
    """Returns the kind of artifact of an input key."""
    return key.partition("/")[0]


def by_stage(inputs: Mapping[str, Value], kind: str) -> dict[str, Value]:
    """Returns the values of the several inputs of one kind, by the name of the stage that makes each."""
    prefix = f"{kind}/"
    return {key.removeprefix(prefix): value for key, value in inputs.items() if key.startswith(prefix)}
