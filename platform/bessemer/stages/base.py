"""The definition of a stage: typed settings, the kinds of artifact that it reads and makes, and a `run`.

The file `stages/<kind>.py` defines a stage. It contains `class Config(StageConfig)` and

    STAGE = Stage(kind="clean", version=1, config=Config, inputs=(Input("documents"),), produces="documents", run=run)

    def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None: ...

`run` reads `inputs["documents"].data`, writes below `draft.data` (and `draft.ledger`), and may set
`draft.counts`, `draft.metrics` and `draft.resolved`. When it returns, the runner hashes the files and writes the
manifest, which turns the draft into an artifact. If `run` is killed, the next run calls it with the same draft folder,
and it continues from the files in that folder. `run` imports heavy libraries (ray, torch, trafilatura, ...) itself, so
that `plan` stays fast.

Increase the version by hand if the same input gives different bytes. A golden test fails if you forget it.
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
from bessemer.recipe.inputs import Input
from bessemer.recipe.settings import PATH_SCHEMA, Settings, execution, resolve_path


class StageConfig(Settings):
    """The settings that all stages share."""

    num_workers: int | Literal["auto"] | None = execution(None)
    """Worker processes: 0 runs in this process without Ray, `auto` uses the cluster's CPUs; if unset, the recipe's."""

    @property
    def decided_splits(self) -> tuple[str, ...]:
        """Splits whose documents or rows depend on these settings.

        A sweep over these settings cannot compare models on those splits.
        """
        return SPLITS


def _resolve(value: Any, info: ValidationInfo) -> Any:
    return value if isinstance(value, str) and "://" in value else resolve_path(value, info)


RecipePath = Annotated[str, BeforeValidator(_resolve), PATH_SCHEMA]
"""A path or a URL; a path is relative to the recipe's folder in a recipe and to the working folder on the command line.

The location of a file does not change the result. Such a field is therefore an `execution` setting, and `Stage.outside`
adds the file's content to the fingerprint.
"""

Inputs = Mapping[str, Artifact]
"""The artifacts that a stage reads, by input key: `kind`, or `kind/stage` for an `Input` with `many`."""


@dataclass
class Draft:
    """An unfinished artifact. Its folder survives a crash; the runner removes `work` before it writes the manifest."""

    path: Path
    fingerprint: str
    attempt: int = 1
    counts: Counts | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    resolved: dict[str, Any] = field(default_factory=dict)
    """The values that the stage chose for settings left at `auto`, and other facts for the manifest."""

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
        """The file to which rank 0 appends the step metrics of this attempt, as JSON lines."""
        return self._folder("metrics") / f"{self.attempt:04d}.jsonl"

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass
class Context:
    """The services that a run provides to its stages."""

    seed: int
    num_workers: int | Literal["auto"] | tuple[int, int]
    """The stage's worker count from the recipe: a number, `auto`, or (minimum, maximum) for a stage that trains."""
    log: logging.Logger
    stop_file: Path
    """A file that exists once a stop is requested; remote workers poll it."""
    start_ray: Callable[[], Any]
    """Returns the module `ray`. The first call starts Ray or connects to the run's cluster."""
    progress: Callable[..., None] = lambda done, total, unit, **facts: None
    """`progress(done, total, "pages", **facts)` shows the progress of the stage. It is never stored."""
    stopping: threading.Event = field(default_factory=threading.Event)
    check_lease: Callable[[], None] = lambda: None
    """Raises LeaseLost if another process has taken over the artifact."""
    check_outside: Callable[[], None] = lambda: None
    """Raises InputChanged if the inputs from outside the recipe have changed since the plan. A stage with
    `verifies_reads` calls it after it has listed its files and before it reads them."""

    def check_stop(self) -> None:
        """Raises Stopped if a stop was requested, and LeaseLost if another process took over the artifact.

        Stages call it between units.
        """
        self.check_lease()
        if self.stopping.is_set() or self.stop_file.exists():
            raise Stopped("stopped as asked", hint="run the same command again to continue")


Run = Callable[[Any, Inputs, Draft, Context], None]


@dataclass(frozen=True)
class Stage:
    """One kind of stage."""

    kind: str
    version: int
    config: type[StageConfig]
    produces: str
    run: Run
    inputs: tuple[Input, ...] = ()
    """The kinds of artifact that the stage reads."""
    libraries: tuple[str, ...] = ()
    """Python distributions whose versions affect the output."""
    seeded: bool = False
    """Whether the recipe's seed changes the output."""
    sets_shares: bool = False
    """Whether the stage sets the amount of text of each source."""
    filters: bool = False
    """Whether the stage removes documents by their content, which changes the shares that an earlier stage set."""
    outside: Callable[[Any], Any] | None = None
    """Returns a JSON value that identifies the content of inputs from outside the recipe; part of the fingerprint."""
    verifies_reads: bool = False
    """Whether the workers compare each outside file with its state before hashing. A finished unit then has the planned
    content, even if files change later. For other stages the runner compares all outside inputs."""
    check: Callable[[Any, Mapping[str, StageConfig]], None] | None = None
    """Called by every plan with the settings of this stage and, for each input kind, the settings of the stage that
    makes it. Raises BessemerError if they do not fit together."""
    context_length: Callable[[Any, int | None], int | None] | None = None
    """Called by every plan with the settings and the context length of the start model. Returns the context length, in
    tokens, of the model that the stage makes or uses, or None if it is unknown before the run. Raises UsageError if the
    settings need longer sequences."""
    facts: Callable[[Any, Collection[str]], dict[str, Any]] | None = None
    """Returns figures for `plan` (parameters, tokens, ...) from the settings and the kinds of `inputs`. It must be fast
    and must not import heavy libraries."""
    warnings: Callable[[Any, Mapping[str, Artifact], Artifact | None], list[str]] | None = None
    """Returns warnings for `plan` about settings that may have an unintended effect. Called with the settings, the
    inputs that exist, and the stage's own artifact if it exists; may take a few seconds."""
