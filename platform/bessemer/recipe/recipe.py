"""A recipe: named stages with their settings, read, overridden, checked and wired.

    name: books
    seed: 1
    stages:
      ingest: {paths: [books]}
      tokenizer: {vocab_size: 8192}
      tokenize:
      pretrain: {hidden_size: 256}
      evaluate:

Stages run in the order of the file. A stage takes each kind of artifact that it consumes from the nearest stage above
that makes it, unless `from:` names other stages. `from:` may list several models: `evaluate: {from: [pretrain,
finetune]}`. A stage may have a name that differs from its kind: `small: {stage: pretrain}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, NonNegativeFloat, ValidationError, ValidationInfo, field_validator

from bessemer import storage
from bessemer.commands import default_storage_path
from bessemer.recipe import overrides, yaml
from bessemer.recipe.inputs import Input, kind_of
from bessemer.recipe.problems import MAX_SHOWN, Problem, nearest, raise_problems
from bessemer.recipe.settings import Settings, execution, working_folder
from bessemer.recipe.sweep import SweepSettings
from bessemer.recipe.validation import merged, model_at, short


class ClusterSettings(Settings):
    """Where Ray runs."""

    address: str | None = execution(None)
    """A Ray cluster to attach to: `host:6379`, `ray://host:10001`, or `auto` on one of its nodes. If unset, Ray starts
    on this machine."""
    shared_paths: list[str] = execution([])
    """Folders that have the same path on every node of a remote cluster (NFS, a mounted bucket)."""
    object_store_bytes: int = execution(256 << 20, ge=80 << 20)
    """Shared memory of the Ray that starts on this machine, in bytes. Texts do not pass through it, so the default is
    enough without `rollout_workers`. Their weights take 8 bytes per parameter for each training worker."""

    @field_validator("address")
    @classmethod
    def _is_a_cluster(cls, address: str | None) -> str | None:
        if address in (None, "auto") or re.fullmatch(r"(ray://)?([^:/\s]+|\[[0-9a-fA-F:.]+\]):\d+", address):
            return address
        raise ValueError(
            "must be `host:6379`, the address that `ray start --head` prints, `ray://host:10001`, or `auto`"
        )


class TrackingSettings(Settings):
    """Where MLflow records."""

    uri: str | None = execution(None)
    """An MLflow tracking server or database. If unset, `MLFLOW_TRACKING_URI`; if that is unset too, SQLite next to the
    runs. A relative path is relative to the working folder."""
    experiment: str | None = execution(None)
    """The experiment's name. If unset, the recipe's name."""
    register_model: bool = execution(True)
    """Whether to register a finished model as `<recipe>-base`."""


class CostSettings(Settings):
    """Prices of computing time, for the report and MLflow. An unknown cost is shown as n/a."""

    price_per_hour: float | None = execution(None, ge=0)
    """The price of the whole cluster per hour."""
    prices: dict[str, NonNegativeFloat] = execution({})
    """The price of a device per hour, by words of the device's name (`H200: 3.6`). `CPU` is the price of a core. Used
    only if `price_per_hour` is unset."""
    currency: str = execution("USD")
    """The currency of `price_per_hour`."""


class Recipe(Settings):
    """The fields of a recipe other than its stages."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """Name of the recipe, used for the experiment, the runs and the registered models: at most 63 lower-case letters,
    digits, `-` and `_`."""
    description: str = execution("")
    """One sentence for the report."""
    seed: int = Field(0, ge=0, lt=2**31)
    """The seed of all random numbers."""
    storage_path: str = execution(default_factory=default_storage_path)
    """The folder for artifacts and runs, local or mounted, relative to the working folder. If unset,
    `BESSEMER_STORAGE_PATH`; if that is unset too, `runs`."""
    num_workers: int | Literal["auto"] = execution("auto")
    """Worker processes of a stage that does not set `num_workers`. With 0, stages run without Ray."""
    cluster: ClusterSettings = execution(ClusterSettings())
    """Where Ray runs."""
    tracking: TrackingSettings = execution(TrackingSettings())
    """Where MLflow records."""
    cost: CostSettings = execution(CostSettings())
    """Prices of computing time."""
    sweep: SweepSettings | None = execution(None)
    """The search that `bessemer sweep` runs."""

    @field_validator("storage_path")
    @classmethod
    def _absolute(cls, value: str, info: ValidationInfo) -> str:
        return str(storage.local_path(value, working_folder(info)))

    @field_validator("num_workers")
    @classmethod
    def _not_negative(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 0:
            raise ValueError("should be 0 or more, or `auto`")
        return value


@dataclass(frozen=True)
class StageEntry:
    """One stage of a recipe: its settings, and `sources`, the stages that supply its inputs by kind of artifact.

    A kind that the stage takes any number of has one key `kind/stage` per supplier.
    """

    name: str
    kind: str
    config: Any
    sources: Mapping[str, str]


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe. `text` is the content of the file `path`. `assignments` come from the command line."""

    path: Path
    text: str
    assignments: tuple[str, ...]
    working_folder: Path
    """The folder in which the user ran the command. Relative paths on the command line start here."""
    settings: Recipe
    stages: tuple[StageEntry, ...]

    def stage(self, name: str) -> StageEntry:
        return next(stage for stage in self.stages if stage.name == name)

    def resolved(self) -> dict[str, Any]:
        """The whole recipe with every default, as plain values."""
        stages = {
            entry.name: {"stage": entry.kind, "from": list(dict.fromkeys(entry.sources.values()))}
            | entry.config.model_dump(mode="json")
            for entry in self.stages
        }
        return {**self.settings.model_dump(mode="json"), "stages": stages}

    def absolute_assignments(self) -> list[str]:
        """The assignments with every path absolute: they mean the same in any working folder."""
        return overrides.absolute(self.assignments, self.resolved())


LoadStage = Callable[[str], Any]


def load(path: Path, assignments: Sequence[str], load_stage: LoadStage, kinds: Sequence[str]) -> LoadedRecipe:
    """Reads and checks a recipe. `load_stage(kind)` returns the stage, and `kinds` are the known names.

    Raises RecipeError with every problem at once.
    """
    if path.is_dir():
        path = path / "recipe.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise_problems([Problem("the file does not exist", file=str(path), hint="`bessemer init DIR` copies a recipe")])
    except (OSError, ValueError) as error:  # not UTF-8, or a name with a null character
        raise_problems([Problem(f"the file cannot be read: {error}", file=str(path))])
    return check(text, path, tuple(assignments), load_stage, kinds, working_folder=Path.cwd())


def check(
    text: str,
    path: Path,
    assignments: tuple[str, ...],
    load_stage: LoadStage,
    kinds: Sequence[str],
    *,
    working_folder: Path,
    changes: Mapping[str, Any] | None = None,
) -> LoadedRecipe:
    """Checks the `text` of a recipe that was read from `path`.

    `changes` are values by dotted name, as a trial of a sweep sets them; a path among them is relative to the recipe.
    A path in `assignments` is relative to `working_folder`. Raises RecipeError with every problem at once.
    """
    source = yaml.parse(text, str(path))
    raise_problems(source.problems)
    if not isinstance(source.value, dict):
        raise_problems([Problem("a recipe is a mapping with `name` and `stages`", file=str(path), line=1)])
    return _Check(source, path, assignments, changes or {}, load_stage, kinds, working_folder).run()


class _Check:
    """Collects every problem of one recipe."""

    def __init__(
        self,
        source: yaml.Source,
        path: Path,
        assignments: tuple[str, ...],
        changes: Mapping[str, Any],
        load_stage: LoadStage,
        kinds: Sequence[str],
        working_folder: Path,
    ) -> None:
        self.source, self.path, self.assignments, self.changes = source, path, assignments, changes
        self.load_stage, self.kinds, self.working_folder = load_stage, kinds, working_folder
        self.raw: dict[str, Any] = source.value
        self.problems: list[Problem] = []
        self.origins: dict[yaml.Path, overrides.Origin] = {}

    def run(self) -> LoadedRecipe:
        stages = self.raw.get("stages")
        if not isinstance(stages, dict) or not stages:
            self.problem((), "a recipe needs at least one stage under `stages:`")
            stages = self.raw["stages"] = {}
        self.origins, unapplied = overrides.apply(
            self.raw, self.assignments, list(stages), changes=self.changes, changes_from=str(self.path)
        )
        self.problems += unapplied
        settings = self.settings({key: value for key, value in self.raw.items() if key != "stages"}, Recipe, ())
        entries: list[StageEntry] = []
        for name, raw in stages.items():
            entry = self.entry(str(name), raw, entries, list(stages))
            if entry:
                entries.append(entry)
        raise_problems(self.problems)
        return LoadedRecipe(
            self.path, self.source.text, self.assignments, self.working_folder, settings, tuple(entries)
        )

    def entry(self, name: str, raw: Any, above: Sequence[StageEntry], names: Sequence[str]) -> StageEntry | None:
        place: yaml.Path = ("stages", name)
        if raw is None:
            raw = {}
        if not isinstance(raw, dict):
            self.problem(place, f"the settings of `{name}` should be a mapping")
            return None
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            self.problem(place, f"`{name}` is not a stage name: lower-case letters, digits and underscores")
        raw = dict(raw)
        kind = raw.pop("stage", name)
        sources = raw.pop("from", None)
        try:
            stage = self.load_stage(str(kind))
        except KeyError:
            hint = nearest(str(kind), self.kinds) if len(self.problems) < MAX_SHOWN else ""
            self.problem(place, f"no stage is called `{kind}`", hint)
            return None
        config = self.settings(raw, stage.config, place)
        inputs = [each for each in stage.inputs if config is None or each.needed(config)]
        wired = self.wire(name, inputs, sources, above, names)
        return StageEntry(name, str(kind), config, wired) if config is not None else None

    def wire(
        self, name: str, inputs: Sequence[Input], wanted: Any, above: Sequence[StageEntry], names: Sequence[str]
    ) -> dict[str, str]:
        """Chooses the stage that supplies each input of the stage `name`."""
        place: yaml.Path = ("stages", name, "from")
        wired: dict[str, str] = {}
        by_name = {entry.name: entry for entry in above}
        by_kind = {each.kind: each for each in inputs}
        wanted = [wanted] if isinstance(wanted, str) else wanted or []
        if not isinstance(wanted, list):
            self.problem(place, "`from` should be the name of a stage or a list of names")
            wanted = []
        for source in map(str, wanted):
            if source not in by_name:
                if (
                    source in names
                    and any(p.excerpt for p in self.problems)
                    and names.index(source) < names.index(name)
                ):
                    continue  # its own problem is reported already
                later = f"`{source}` is below `{name}`; a stage can only use stages above it"
                self.problem(
                    place,
                    f"`{name}` takes from `{source}`, which is not a stage above it",
                    later if source in names else nearest(source, by_name),
                )
                continue
            kind = self.load_stage(by_name[source].kind).produces
            if kind not in by_kind:
                self.problem(place, f"`{name}` does not consume {kind}, which `{source}` makes")
                continue
            key = by_kind[kind].key(source)
            if key in wired and not by_kind[kind].many:
                self.problem(place, f"`{name}` takes {kind} from both `{wired[key]}` and `{source}`")
            wired[key] = source
        for each in inputs:
            kind = each.kind
            if each.many and each.explicit and not wanted:
                able = [entry.name for entry in above if self.load_stage(entry.kind).produces == kind]
                names_ = ", ".join(able)
                self.problem(
                    ("stages", name),
                    f"`{name}` needs `from`, a list of the stages whose {kind} it takes",
                    f"for example `from: [{names_}]`" if able else "",
                )
        for each in inputs:
            kind = each.kind
            if each.explicit or any(kind_of(key) == kind for key in wired):
                continue
            makers = [entry.name for entry in above if self.load_stage(entry.kind).produces == kind]
            if makers:
                wired[each.key(makers[-1])] = makers[-1]
            elif each.required and not self.problems:
                able = [k for k in self.kinds if self.load_stage(k).produces == kind]
                self.problem(
                    ("stages", name),
                    f"`{name}` needs {kind}, but no stage above makes it",
                    "add one of " + ", ".join(f"`{k}`" for k in able) if able else "",
                )
        return wired

    def settings(self, raw: dict[str, Any], model: type[BaseModel], place: yaml.Path) -> Any:
        try:
            folder = Path(self.working_folder, self.path).parent.resolve()
            return model.model_validate(raw, context={"folder": folder, "working_folder": self.working_folder})
        except ValidationError as error:
            for one in merged(error.errors(include_url=False), raw):
                self.pydantic_problem(one, model, place)
            return None

    def pydantic_problem(self, error: Any, model: type[BaseModel], place: yaml.Path) -> None:
        location = error["loc"]
        field = ".".join(str(part) for part in (*place[1:], *location)) or "recipe"
        if error["type"] == "extra_forbidden":
            owner = model_at(model, location[:-1])
            if owner is Recipe:
                self.unknown_name(str(location[-1]))
                return
            valid = owner.model_fields if owner else ()
            self.problem(place + location, f"`{field}` is not a setting", nearest(str(location[-1]), valid))
            return
        if error["type"] == "missing":
            owner = model_at(model, location[:-1])
            described = (
                owner.model_fields[location[-1]].description if owner and location[-1] in owner.model_fields else None
            )
            self.problem(place + location, f"`{field}` is missing", described or "")
            return
        if error["type"] in ("union_tag_invalid", "union_tag_not_found"):
            kind = error["ctx"]["discriminator"].strip("'")
            known = re.findall(r"'([^']*)'", error["ctx"].get("expected_tags", ""))
            said = f"should be a known one, not `{error['ctx']['tag']}`" if known else "is missing"
            hint = nearest(error["ctx"]["tag"], known) if known else ""
            self.problem((*place, *location, kind), f"`{field}.{kind}` {said}", hint)
            return
        message = error["msg"]
        given = "" if isinstance(error["input"], dict) else f", not `{short(error['input'])}`"
        separator = " " if message.startswith("should") else ": "
        self.problem(place + location, f"`{field}`{separator}{message}{given}")

    def unknown_name(self, name: str) -> None:
        """Reports a first name that is neither a field of the recipe nor one of its stages."""
        stages: dict[str, Any] = self.raw["stages"]
        if (name,) in self.source.lines and name in self.kinds:
            self.problem((name,), f"`{name}` is a stage, not a field of the recipe", "write it below `stages:`")
        elif name in self.kinds or any(path[0] == name and len(path) > 1 for path in self.origins):
            alike = [key for key, raw in stages.items() if isinstance(raw, dict) and raw.get("stage") == name]
            hint = f"its stage of this kind is called `{alike[0]}`" if alike else nearest(name, stages)
            self.problem((name,), f"the recipe has no stage `{name}`", hint)
        else:
            self.problem((name,), f"`{name}` is not a setting", nearest(name, [*Recipe.model_fields, *stages]))

    def problem(self, path: yaml.Path, message: str, hint: str = "") -> None:
        for assigned, origin in self.origins.items():
            above = path[: len(assigned)] == assigned
            below = assigned[: len(path)] == path and path not in self.source.lines
            if above or below:
                self.problems.append(Problem(message, file=origin.file, excerpt=origin.text, hint=hint))
                return
        line = self.source.line_of(path)
        excerpt = self.source.excerpt(line)
        self.problems.append(Problem(message, file=str(self.path), line=line, excerpt=excerpt, hint=hint))
