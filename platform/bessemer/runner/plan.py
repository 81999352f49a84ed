"""The plan of a run and its reasons: the fingerprint of every stage and whether its artifact is there already.

A fingerprint depends only on settings and on the fingerprints of the inputs, so planning does not run any stage.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bessemer import stages
from bessemer.artifacts.store import Artifact, Store
from bessemer.credentials import redact_all
from bessemer.errors import ArtifactDamaged, BessemerError, UsageError
from bessemer.fingerprint import fingerprint, versions
from bessemer.recipe import recipe as recipes
from bessemer.recipe.inputs import kind_of
from bessemer.recipe.problems import nearest
from bessemer.recipe.settings import result_settings
from bessemer.runner.changes import nearest_change, stored_identity


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a plan. `inputs` maps a kind of artifact to the name of the stage that supplies it."""

    name: str
    kind: str
    produces: str
    fingerprint: str
    inputs: dict[str, str]
    runs: bool
    why: str
    config: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    """The parts of the fingerprint, as the manifest stores them."""

    def folder(self, store: Store) -> Path:
        return store.folder(self.kind, self.fingerprint)


@dataclass(frozen=True)
class RunPlan:
    """The stages of a run in order."""

    recipe: str
    fingerprint: str
    """Identifies the results of the run. The same command has the same fingerprint again."""
    stages: tuple[PlannedStage, ...]

    def stage(self, name: str) -> PlannedStage:
        return next(stage for stage in self.stages if stage.name == name)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def load_recipe(path: Path, assignments: Sequence[str]) -> recipes.LoadedRecipe:
    """Loads and checks a recipe, with the stages of this installation."""
    return recipes.load(path, assignments, stages.load, stages.kinds())


def change_recipe(recipe: recipes.LoadedRecipe, changes: Mapping[str, Any]) -> recipes.LoadedRecipe:
    """The recipe with changed values, by dotted name. Does not read the file again.

    The storage path does not change, even in a process with other environment variables.
    """
    return recipes.check(
        recipe.text,
        recipe.path,
        recipe.assignments,
        stages.load,
        stages.kinds(),
        working_folder=recipe.working_folder,
        changes={"storage_path": recipe.settings.storage_path, **changes},
    )


def make_plan(
    recipe: recipes.LoadedRecipe, store: Store, *, until: str | None = None, rerun: Collection[str] = ()
) -> RunPlan:
    """The plan for `recipe`. Omits stages after `until`; stages in `rerun` run in any case."""
    names = [entry.name for entry in recipe.stages]
    for name in (*([until] if until else []), *rerun):
        if name not in names:
            raise UsageError(f"the recipe has no stage `{name}`", hint=nearest(name, names))
    planned: dict[str, PlannedStage] = {}
    for entry in recipe.stages:
        planned[entry.name] = _plan_stage(recipe, entry, store, planned, rerun)
        if entry.name == until:
            break
    identity = fingerprint([recipe.settings.name, {name: stage.fingerprint for name, stage in planned.items()}])
    return RunPlan(recipe.settings.name, identity, tuple(planned.values()))


def plan_warnings(recipe: recipes.LoadedRecipe, plan: RunPlan, store: Store) -> dict[str, list[str]]:
    """The warnings of each stage, by its name. Reads existing artifacts, which takes a few seconds at most."""
    found: dict[str, list[str]] = {}
    for planned in plan.stages:
        stage = stages.load(planned.kind)
        if stage.filters and (above := _setter_of_shares(plan, planned)):
            found[planned.name] = [
                f"removes documents after `{above}`, so the shares of `{above}` do not hold; move it up"
            ]
        if stage.warnings:
            made = {kind: plan.stage(source) for kind, source in planned.inputs.items()}
            inputs = {
                kind: artifact
                for kind, source in made.items()
                if not source.runs and (artifact := store.find(source.kind, source.fingerprint))
            }
            own = None if planned.runs else store.find(planned.kind, planned.fingerprint)
            said = stage.warnings(recipe.stage(planned.name).config, inputs, own)
            if said:
                found.setdefault(planned.name, []).extend(said)
    return found


def _setter_of_shares(plan: RunPlan, planned: PlannedStage) -> str | None:
    """The nearest earlier stage that sets the shares of sources in the documents that `planned` reads."""
    for source in (plan.stage(name) for key, name in planned.inputs.items() if kind_of(key) == "documents"):
        found = source.name if stages.load(source.kind).sets_shares else _setter_of_shares(plan, source)
        if found:
            return found
    return None


def _plan_stage(
    recipe: recipes.LoadedRecipe,
    entry: recipes.StageEntry,
    store: Store,
    above: dict[str, PlannedStage],
    rerun: Collection[str],
) -> PlannedStage:
    stage = stages.load(entry.kind)
    try:
        if stage.check:
            configs = {one.name: one.config for one in recipe.stages}
            stage.check(entry.config, {kind: configs[source] for kind, source in entry.sources.items()})
        _context_length(recipe, entry)
        outside = stage.outside(entry.config) if stage.outside else None
    except BessemerError as error:
        error.message = f"stage `{entry.name}`: {error.message}"
        raise
    identity = {
        "stage": entry.kind,
        "version": stage.version,
        "settings": result_settings(entry.config),
        "inputs": {kind: above[source].fingerprint for kind, source in sorted(entry.sources.items())},
        "libraries": versions(stage.libraries),
        "seed": recipe.settings.seed if stage.seeded else None,
        "outside": outside,
    }
    if any(each.many for each in stage.inputs):
        identity["order"] = list(entry.sources)
    name = fingerprint(identity)
    runs, why = _why(entry, name, identity, store, above, rerun)
    return PlannedStage(
        name=entry.name,
        kind=entry.kind,
        produces=stage.produces,
        fingerprint=name,
        inputs=dict(entry.sources),
        runs=runs,
        why=why,
        config=redact_all(entry.config.model_dump(mode="json")),
        facts=stage.facts(entry.config, entry.sources.keys()) if stage.facts else {},
        identity=stored_identity(identity),
    )


def _context_length(recipe: recipes.LoadedRecipe, entry: recipes.StageEntry) -> int | None:
    """The longest sequence of the model that a stage makes. Raises UsageError if its settings need a longer one."""
    stage = stages.load(entry.kind)
    if stage.context_length is None:
        return None
    source = entry.sources.get("model")
    start = _context_length(recipe, recipe.stage(source)) if source else None
    return stage.context_length(entry.config, start)


def _why(
    entry: recipes.StageEntry,
    name: str,
    identity: Mapping[str, Any],
    store: Store,
    above: dict[str, PlannedStage],
    rerun: Collection[str],
) -> tuple[bool, str]:
    """(whether the stage runs, the reason)."""
    if entry.name in rerun:
        return True, "requested with `--rerun`"
    artifact = store.find(entry.kind, name)
    if artifact is None:
        folder = store.folder(entry.kind, name)
        if any((folder / part).exists() for part in ("work", "checkpoints", "data")):
            return True, "begun before; continues where it stopped"
        waiting = [source for source in entry.sources.values() if above[source].runs]
        if waiting:
            return True, f"`{waiting[0]}` runs first"
        return True, nearest_change(entry.kind, identity, redact_all(entry.config.model_dump(mode="json")), store)
    try:
        artifact.verify(hashes=False)
    except ArtifactDamaged as error:
        raise ArtifactDamaged(error.message, hint=f"make it again: add `--rerun {entry.name}`") from None
    for kind, source in entry.sources.items():
        if above[source].runs:
            return True, f"`{source}` is made again"
        if stale(artifact, kind, store.find(above[source].kind, above[source].fingerprint)):
            return True, f"`{source}` was made again with other content"
    return False, f"made {artifact.manifest.created_at[:16].replace('T', ' ')}"


def stale(artifact: Artifact, kind: str, source: Artifact | None) -> bool:
    """Whether the input of `artifact` has changed since it was made (for example a crawl that ran again)."""
    made_from = artifact.manifest.inputs.get(kind)
    return source is None or made_from is None or made_from["digest"] != source.manifest.digest
