"""A recipe of three tiny stages, so that the runner is tested without any data, Ray or MLflow."""

from __future__ import annotations

from collections.abc import Callable

from bessemer.artifacts.ledger import Counts
from bessemer.errors import InputError
from bessemer.recipe.inputs import Input
from bessemer.recipe.settings import execution
from bessemer.runner.display import Display
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig

ORDER = ("write", "double", "join")


class Config(StageConfig):
    letter: str = "a"
    """The text that the stage writes."""
    fail: bool = execution(False)
    """Whether the stage fails half-way."""
    hook: str = execution("")
    """The name of a function that the test supplies."""


HOOKS: dict[str, Callable[..., None]] = {}


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    """Writes a line for each attempt (so that a resumed stage shows), the inputs' text, and the letter."""
    begun = draft.work / "begun"
    text = "".join((artifact.data / "text").read_text() for artifact in inputs.values())
    if not begun.exists():
        begun.write_text("first attempt")
    if config.fail:
        raise InputError("the input is bad", hint="mend it")
    (draft.data / "text").write_text(text + config.letter)
    draft.counts = Counts(documents_in=1, documents_out=1)
    draft.metrics["data/length"] = float(len(text) + 1)
    if config.hook:
        HOOKS[config.hook](draft, context)


TABLE = {
    "write": Stage("write", 1, Config, "documents", run),
    "double": Stage("double", 1, Config, "tokens", run, inputs=(Input("documents"),)),
    "join": Stage("join", 1, Config, "model", run, inputs=(Input("documents"), Input("tokens")), seeded=True),
    "compare": Stage("compare", 1, Config, "scores", run, inputs=(Input("tokens", many=True),)),
}


class Silent(Display):
    """Records the messages."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)
