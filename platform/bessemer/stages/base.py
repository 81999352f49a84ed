"""What a stage is: typed settings, the kinds of artifact it consumes and produces, and a `run`.

A stage lives in `stages/<kind>.py`, which defines `class Config(StageConfig)` and

    STAGE = Stage(kind="clean", version=1, config=Config, consumes=("documents",), produces="documents", run=run)

    def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None: ...

`run` reads `inputs["documents"].data`, writes below `draft.data` (and `draft.ledger`), and may set
`draft.counts`, `draft.metrics` and `draft.resolved`. When it returns, the runner hashes the files and writes the
manifest; nothing is an artifact before that. A killed `run` is called again with the same draft folder, so it continues
from what it finds there. Heavy imports (ray, torch, trafilatura, ...) stand inside `run`, so that `plan` stays quick.

The version is bumped by hand when the same input gives other bytes; a golden test notices when it was forgotten.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo

from bessemer.artifacts.documents import SPLITS
from bessemer.artifacts.ledger import Counts
from bessemer.artifacts.store import Artifact
from bessemer.errors import Stopped
from bessemer.recipe.settings import PATH_SCHEMA, Settings, execution, resolve_path


class StageConfig(Settings):
    """What every stage's settings have in common."""

    num_workers: int | Literal["auto"] | None = execution(None)
    """Worker processes: 0 works in this process without Ray, `auto` uses the cluster's CPUs; the recipe's if unset."""

    @property
    def unused(self) -> tuple[str, ...]:
        """Kinds of artifact that the stage consumes, and with these settings does without."""
        return ()

    @property
    def decided_splits(self) -> tuple[str, ...]:
        """Splits whose documents or rows depend on these settings; a sweep over them cannot compare models there."""
        return SPLITS


def _resolve(value: Any, info: ValidationInfo) -> Any:
    return value if isinstance(value, str) and "://" in value else resolve_path(value, info)


RecipePath = Annotated[str, BeforeValidator(_resolve), PATH_SCHEMA]
"""A path or a URL; a path is relative to the recipe's folder in a recipe and to the working folder on the command line.

Where a file lies does not change the result, so such a field is `execution` and `Stage.outside` stands for its content.
"""

Inputs = Mapping[str, Artifact]
"""The consumed artifacts by kind, those of `Stage.many` by `kind/stage`."""


@dataclass
class Draft:
    """An artifact in the making. Its folder survives a crash; `work` is removed before the manifest is written."""

    path: Path
    fingerprint: str
    attempt: int = 1
    counts: Counts | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    resolved: dict[str, Any] = field(default_factory=dict)
    """What settings left to `auto` became."""

    @property
    def data(self) -> Path:
        return self._folder("data")

    @property
    def ledger(self) -> Path:
        return self._folder("ledger")

    @property
    def checkpoints(self) -> Path:
        return self._folder("checkpoints")

    @property
    def work(self) -> Path:
        return self._folder("work")

    @property
    def metrics_file(self) -> Path:
        """Where rank 0 appends the step metrics of this attempt, as JSON lines."""
        return self._folder("metrics") / f"{self.attempt:04d}.jsonl"

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass
class Context:
    """What a stage may ask of the run it is part of."""

    seed: int
    num_workers: int | Literal["auto"] | tuple[int, int]
    """The stage's worker count as the recipe says: a number, `auto`, or a range for a stage that trains."""
    log: logging.Logger
    stop_file: Path
    """Exists once the run was asked to stop; a remote worker polls it."""
    start_ray: Callable[[], Any]
    """Starts Ray or attaches to the run's cluster, once; returns the module."""
    progress: Callable[..., None] = lambda done, total, unit, **facts: None
    """`progress(done, total, "pages", **facts)`: how far the stage is; shown, never stored."""
    stopping: threading.Event = field(default_factory=threading.Event)
    check_lease: Callable[[], None] = lambda: None
    """Raises LeaseLost if another process has taken over the artifact."""
    check_outside: Callable[[], None] = lambda: None
    """Raises InputChanged if the inputs from outside the recipe are not as the plan found them. A stage with
    `verifies_reads` calls it after it has found its files and before it reads them."""

    def check_stop(self) -> None:
        """Raises Stopped once the run was asked to stop, LeaseLost if it lost the artifact; called between units."""
        self.check_lease()
        if self.stopping.is_set() or self.stop_file.exists():
            raise Stopped("stopped as asked", hint="run the same command again to continue")


Run = Callable[[Any, Inputs, Draft, Context], None]


@dataclass(frozen=True)
class Stage:
    """One kind of stage. `consumes` are the kinds it needs, `optional` those it takes if a stage above makes them."""

    kind: str
    version: int
    config: type[StageConfig]
    produces: str
    run: Run
    consumes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    """Kinds that it takes only if `from` names their stage, because to take them by accident would be bad."""
    many: tuple[str, ...] = ()
    """Kinds of which it takes any number, each named by `from`; `inputs` has them as `kind/stage`, in that order. One
    that is in `consumes` too is the newest above where `from` names none."""
    libraries: tuple[str, ...] = ()
    """Distributions whose versions decide the output."""
    seeded: bool = False
    """Whether the recipe's seed changes the output."""
    sets_shares: bool = False
    """Whether the stage sets the amount of text of each source."""
    filters: bool = False
    """Whether it removes documents by their content, which changes the shares that a stage above set."""
    outside: Callable[[Any], Any] | None = None
    """A JSON value that stands for inputs from outside the recipe, by content; part of the fingerprint."""
    verifies_reads: bool = False
    """Whether the workers compare each file from outside with its state before it was hashed. Then a unit that is done
    has the planned content, also if files changed later. For other stages the runner compares the whole."""
    check: Callable[[Any, Mapping[str, StageConfig]], None] | None = None
    """Raises BessemerError if the settings do not fit the inputs, given as the settings of the stage that makes each
    kind; every plan calls it."""
    context_length: Callable[[Any, int | None], int | None] | None = None
    """The longest sequence of the model that the stage makes, from the settings and that of the model it starts from;
    None if it is not known before the run. Raises UsageError if the settings need a longer one; every plan calls it."""
    facts: Callable[[Any, Collection[str]], dict[str, Any]] | None = None
    """Figures for `plan`, of the settings and the kinds of `inputs`: parameters, tokens, ...; quick, without heavy
    imports."""
    warnings: Callable[[Any, Mapping[str, Artifact], Artifact | None], list[str]] | None = None
    """Warnings for `plan` about settings that may have an unintended effect. Called with the settings, the inputs that
    exist, and the stage's own artifact if it exists; may take a few seconds."""
