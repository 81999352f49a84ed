"""A recipe: named stages with their settings, read, overridden, checked and wired.

    name: books
    seed: 1
    stages:
      ingest: {paths: [books]}
      tokenizer: {vocab_size: 8192}
      tokenize:
      pretrain: {hidden_size: 256}
      evaluate:

Stages run in the order in which they stand. A stage takes each kind of artifact that it consumes from the nearest
stage above that makes it, unless `from:` names others (several models for `evaluate: {from: [pretrain, finetune]}`).
A stage may have another name than its kind: `small: {stage: pretrain}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, NonNegativeFloat, ValidationError, field_validator

from bessemer.recipe import overrides, yaml
from bessemer.recipe.problems import Problem, nearest, raise_problems
from bessemer.recipe.settings import Settings, execution


class ClusterSettings(Settings):
    """Where Ray runs."""

    address: str | None = execution(None)
    """A Ray cluster to attach to: `host:6379`, `ray://host:10001`, or `auto` on one of its nodes. If unset, Ray starts
    on this machine."""
    shared_paths: list[str] = execution([])
    """Folders that every node of a remote cluster sees under the same path (NFS, a mounted bucket)."""
    object_store_bytes: int = execution(256 << 20, ge=80 << 20)
    """Shared memory of a Ray started here. Texts do not pass through it, so little is enough, except with
    `rollout_workers`: their weights take 8 bytes per parameter for each training worker."""

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
    """An MLflow tracking server; unset uses `MLFLOW_TRACKING_URI`, else SQLite beside the runs."""
    experiment: str | None = execution(None)
    """The experiment's name; the recipe's if unset."""
    register_model: bool = execution(True)
    """Whether a finished model is registered as `<recipe>-base`."""


class CostSettings(Settings):
    """What time costs, for the report and MLflow. What is not known prints n/a, never a guess."""

    price_per_hour: float | None = execution(None, ge=0)
    """The price of the whole cluster for an hour."""
    prices: dict[str, NonNegativeFloat] = execution({})
    """If that is unset: the price of a device for an hour, by words of its name (`H200: 3.6`); `CPU` is a core's."""
    currency: str = execution("USD")
    """The currency of `price_per_hour`."""


class ScheduleSettings(Settings):
    """ASHA: trials that are behind stop early (Li et al., 2018)."""

    grace_period: int = execution(1, ge=1)
    """Reports of the metric that every trial gets before it may be stopped."""
    reduction_factor: int = execution(3, ge=2)
    """At each rung one trial in this many goes on."""


class SweepSettings(Settings):
    """A search over fields of the recipe, as Ray Tune does it."""

    metric: str = execution("validation/bits_per_byte")
    """The metric to search by, as a stage records it."""
    mode: Literal["min", "max"] = execution("min")
    """Whether less or more is better."""
    num_samples: int = execution(8, ge=1)
    """How many trials."""
    max_concurrent_trials: int = execution(1, ge=1)
    """How many trials run at once."""
    scheduler: ScheduleSettings | None = execution(ScheduleSettings())
    """Early stopping; `null` lets every trial finish."""
    param_space: dict[str, dict[str, Any]] = execution({})
    """For each field `stage.field`: one of `choice: [..]`, `uniform: [low, high]`, `loguniform: [low, high]`, ..."""


class Recipe(Settings):
    """The fields of a recipe beside its stages."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """Lower-case name: of the experiment, of the runs and of the registered models."""
    description: str = execution("")
    """One sentence for the report."""
    seed: int = Field(0, ge=0, lt=2**31)
    """The seed of everything that is random."""
    storage_path: str = execution("runs")
    """The folder for artifacts and runs, relative to the working folder."""
    num_workers: int | Literal["auto"] = execution("auto")
    """Worker processes of a stage that does not say: 0 works without Ray."""
    cluster: ClusterSettings = execution(ClusterSettings())
    """Where Ray runs."""
    tracking: TrackingSettings = execution(TrackingSettings())
    """Where MLflow records."""
    cost: CostSettings = execution(CostSettings())
    """What time costs."""
    sweep: SweepSettings | None = execution(None)
    """The search that `bessemer sweep` runs."""

    @field_validator("num_workers")
    @classmethod
    def _not_negative(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 0:
            raise ValueError("should be 0 or more, or `auto`")
        return value


@dataclass(frozen=True)
class StageEntry:
    """One stage of a recipe: its settings, and the stages that supply what it consumes, by kind of artifact.

    A kind that it takes any number of stands in `sources` as `kind/stage`, once for each.
    """

    name: str
    kind: str
    config: Any
    sources: Mapping[str, str]


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe. `text` is the file's, `assignments` what the command line set."""

    path: Path
    text: str
    assignments: tuple[str, ...]
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


LoadStage = Callable[[str], Any]


def load(path: Path, assignments: Sequence[str], load_stage: LoadStage, kinds: Sequence[str]) -> LoadedRecipe:
    """Reads and checks a recipe. `load_stage(kind)` gives the stage and `kinds` the names that it knows.

    Raises RecipeError with every problem at once.
    """
    if path.is_dir():
        path = path / "recipe.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise_problems([Problem("there is no such file", file=str(path), hint="`bessemer init DIR` copies one")])
    except (OSError, UnicodeDecodeError) as error:
        raise_problems([Problem(f"it cannot be read: {error}", file=str(path))])
    source = yaml.parse(text, str(path))
    raise_problems(source.problems)
    if not isinstance(source.value, dict):
        raise_problems([Problem("a recipe is a mapping with `name` and `stages`", file=str(path), line=1)])
    return _Check(source, path, text, tuple(assignments), load_stage, kinds).run()


class _Check:
    """Collects every problem of one recipe."""

    def __init__(
        self,
        source: yaml.Source,
        path: Path,
        text: str,
        assignments: tuple[str, ...],
        load_stage: LoadStage,
        kinds: Sequence[str],
    ) -> None:
        self.source, self.path, self.text, self.assignments = source, path, text, assignments
        self.load_stage, self.kinds = load_stage, kinds
        self.raw: dict[str, Any] = source.value
        self.problems: list[Problem] = []
        self.origins: dict[yaml.Path, str] = {}

    def run(self) -> LoadedRecipe:
        stages = self.raw.get("stages")
        if not isinstance(stages, dict) or not stages:
            self.problem((), "a recipe needs at least one stage under `stages:`")
            stages = self.raw["stages"] = {}
        self.origins, unapplied = overrides.apply(self.raw, self.assignments, list(stages))
        self.problems += unapplied
        settings = self.settings({key: value for key, value in self.raw.items() if key != "stages"}, Recipe, ())
        entries: list[StageEntry] = []
        for name, raw in stages.items():
            entry = self.entry(str(name), raw, entries, list(stages))
            if entry:
                entries.append(entry)
        raise_problems(self.problems)
        return LoadedRecipe(self.path, self.text, self.assignments, settings, tuple(entries))

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
            self.problem(place, f"there is no stage called `{kind}`", nearest(str(kind), self.kinds))
            return None
        config = self.settings(raw, stage.config, place)
        if config is not None and config.unused:
            stage = replace(stage, consumes=tuple(kind for kind in stage.consumes if kind not in config.unused))
        wired = self.wire(name, stage, sources, above, names)
        return StageEntry(name, str(kind), config, wired) if config is not None else None

    def wire(
        self, name: str, stage: Any, wanted: Any, above: Sequence[StageEntry], names: Sequence[str]
    ) -> dict[str, str]:
        """Which stage supplies each kind that `stage` consumes."""
        place: yaml.Path = ("stages", name, "from")
        wired: dict[str, str] = {}
        by_name = {entry.name: entry for entry in above}
        wanted = [wanted] if isinstance(wanted, str) else wanted or []
        if not isinstance(wanted, list):
            self.problem(place, "`from` should be a stage's name or a list of them")
            wanted = []
        for source in map(str, wanted):
            if source not in by_name:
                if (
                    source in names
                    and any(p.excerpt for p in self.problems)
                    and names.index(source) < names.index(name)
                ):
                    continue  # its own problem is reported already
                later = f"`{source}` stands below it; a stage can only use stages above, so there is no loop"
                self.problem(
                    place,
                    f"`{name}` takes from `{source}`, which is no stage above it",
                    later if source in names else nearest(source, by_name),
                )
                continue
            kind = self.load_stage(by_name[source].kind).produces
            if kind in stage.many:
                wired[f"{kind}/{source}"] = source
                continue
            if kind not in (*stage.consumes, *stage.optional, *stage.named):
                self.problem(place, f"`{name}` does not consume {kind}, which `{source}` makes")
            elif kind in wired:
                self.problem(place, f"`{name}` takes {kind} from both `{wired[kind]}` and `{source}`")
            wired[kind] = source
        for kind in stage.many:
            if not wanted and kind not in stage.consumes:
                able = [entry.name for entry in above if self.load_stage(entry.kind).produces == kind]
                names_ = ", ".join(able)
                self.problem(
                    ("stages", name),
                    f"`{name}` needs `from`, a list of the stages whose {kind} it takes",
                    f"for example `from: [{names_}]`" if able else "",
                )
        for kind in (*stage.consumes, *stage.optional):
            if kind in wired or any(name.startswith(f"{kind}/") for name in wired):
                continue
            makers = [entry.name for entry in above if self.load_stage(entry.kind).produces == kind]
            if makers:
                wired[f"{kind}/{makers[-1]}" if kind in stage.many else kind] = makers[-1]
            elif kind in stage.consumes and not self.problems:
                able = [k for k in self.kinds if self.load_stage(k).produces == kind]
                self.problem(
                    ("stages", name),
                    f"`{name}` needs {kind}, and no stage above makes any",
                    "add one of " + ", ".join(f"`{k}`" for k in able) if able else "",
                )
        return wired

    def settings(self, raw: dict[str, Any], model: type[BaseModel], place: yaml.Path) -> Any:
        try:
            return model.model_validate(raw, context={"folder": self.path.parent.resolve()})
        except ValidationError as error:
            for one in _merged(error.errors(include_url=False), raw):
                self.pydantic_problem(one, model, place)
            return None

    def pydantic_problem(self, error: Any, model: type[BaseModel], place: yaml.Path) -> None:
        location = error["loc"]
        field = ".".join(str(part) for part in (*place[1:], *location)) or "recipe"
        if error["type"] == "extra_forbidden":
            owner = _model_at(model, location[:-1])
            valid = [*owner.model_fields] if owner else []
            if owner is Recipe:
                valid += self.raw["stages"]
            self.problem(place + location, f"`{field}` is not a setting", nearest(str(location[-1]), valid))
            return
        if error["type"] == "missing":
            owner = _model_at(model, location[:-1])
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
        given = "" if isinstance(error["input"], dict) else f", not `{_short(error['input'])}`"
        separator = " " if message.startswith("should") else ": "
        self.problem(place + location, f"`{field}`{separator}{message}{given}")

    def problem(self, path: yaml.Path, message: str, hint: str = "") -> None:
        for assigned, assignment in self.origins.items():
            above = path[: len(assigned)] == assigned
            below = assigned[: len(path)] == path and path not in self.source.lines
            if above or below:
                self.problems.append(Problem(message, file="command line", excerpt=assignment, hint=hint))
                return
        line = self.source.line_of(path)
        excerpt = self.source.excerpt(line)
        self.problems.append(Problem(message, file=str(self.path), line=line, excerpt=excerpt, hint=hint))


_UNION_MEMBER = re.compile(r"(int|float|str|bool|constrained-.*|(literal|tuple|list|dict|function-).*\[.*)")
"""How pydantic names the alternatives of a field in a location."""
_NOISE = re.compile(r"^(Value error, |Input |(Tuple|List|Dictionary) (?=should))|, unable to .*| after validation.*")


def _merged(errors: Sequence[Any], raw: Any) -> list[dict[str, Any]]:
    """One error for each place of the recipe: the alternatives of a field in one, what follows from others left out."""
    found: dict[yaml.Path, dict[str, Any]] = {}
    for error in errors:
        place = _place(error["loc"], raw)
        message = _NOISE.sub("", error["msg"])
        if place in found:
            message = f"{found[place]['msg']} or {message.removeprefix('should be ')}"
        found[place] = {**error, "loc": place, "msg": message}
    return [
        error
        for place, error in found.items()
        if not any(other[: len(place)] == place and len(other) > len(place) for other in found)
    ]


def _place(location: Sequence[int | str], raw: Any) -> yaml.Path:
    """A location without what pydantic adds: which alternative of a field it tried, which kind of a thing."""
    place: list[int | str] = []
    for part in location:
        if isinstance(raw, dict) and part not in raw and raw.get("kind") == part:
            continue
        if isinstance(part, str) and _UNION_MEMBER.fullmatch(part) and not (isinstance(raw, dict) and part in raw):
            continue
        place.append(part)
        inside = isinstance(raw, dict) or (isinstance(raw, list) and isinstance(part, int) and part < len(raw))
        raw = raw.get(part) if isinstance(raw, dict) else raw[part] if inside else None
    return tuple(place)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _model_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel] | None:
    """The settings class that holds the field at `location`, as far as annotations tell."""
    current: Any = model
    for part in location:
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return None
        field = current.model_fields.get(str(part))
        if field is None:
            continue
        models = [
            m
            for m in (field.annotation, *get_args(field.annotation))
            if isinstance(m, type) and issubclass(m, BaseModel)
        ]
        current = models[0] if models else None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None
