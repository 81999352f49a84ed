"""Keeps MLflow up to date from a thread, so that a run never waits for it and never fails because of it.

What a run is to be recorded as (URI, experiment, tags) is written to `tracking.json` in its folder first. Whatever
then goes wrong, a later run under the same storage path, or `bessemer ui`, records what is missing: `catch_up`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer import fences, storage
from bessemer.artifacts import lease
from bessemer.credentials import redact
from bessemer.errors import LeaseLost, TrackingUnreachable
from bessemer.recipe.recipe import TrackingSettings
from bessemer.tracking import registry
from bessemer.tracking.records import read_run, version
from bessemer.tracking.store import DATABASE, connect, locked, resolve_uri, unreachable, with_credentials
from bessemer.tracking.synchronise import MIRRORED_TAG, RUN_TAG, RunMirror

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "tracking.json"
LOCK = ".tracking.lock"
SECONDS = 3.0
"""Between two looks at a run's files."""
LAST_SECONDS = 30.0
"""A finished run waits this long at most for its last points to be recorded."""
STOPPED_SECONDS = 2.0
"""The same for one that failed or was stopped: Ray gives a job 3 s."""


class Mirror:
    """Mirrors one run while it works.

    with Mirror(run.folder, recipe.settings.tracking, say, tags) as mirror:
        ...                     # work, events, metrics
        mirror.finish()         # once `run_finished` is recorded
    """

    def __init__(
        self, folder: Path, settings: TrackingSettings, say: Callable[[str], None], tags: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._say = say
        self._uri = resolve_uri(settings.uri, folder.parent)
        self._wanted = _wanted(folder, settings, self._uri, tags)
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._leaving = threading.Event()
        self._said = False
        self._recorded = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def __enter__(self) -> Mirror:
        storage.write_json(self._folder / NAME, self._wanted)
        self._thread.start()
        return self

    def tag(self, tags: Mapping[str, str]) -> None:
        """Adds tags to the run, now and for a later recording."""
        self._wanted["tags"].update(tags)
        storage.write_json(self._folder / NAME, self._wanted)

    def finish(self) -> None:
        """Records the rest; says so if that is not possible in time."""
        self._end(LAST_SECONDS)

    def leave(self) -> None:
        """Waits for nothing: what is not recorded yet, the next run or `bessemer ui` records."""
        self._leaving.set()
        self._ending.set()
        self._wake.set()

    def __exit__(self, *error: object) -> None:
        self._end(STOPPED_SECONDS)

    def _end(self, seconds: float) -> None:
        if not self._ending.is_set():
            self._ending.set()
            self._wake.set()
            self._thread.join(seconds)
            self._leaving.set()
            if not self._recorded and not self._said:
                self._complain("is slow" if self._thread.is_alive() else "could not be told")

    def _work(self) -> None:
        mirror: RunMirror | None = None
        others_done = False
        while True:
            ending = self._ending.is_set()
            try:
                if mirror is None:
                    client = connect(self._uri)
                    mirror = _run_mirror(client, self._folder, self._wanted)
                with locked(self._folder / LOCK):
                    fences.check(self._folder)
                    mirror.synchronise()
                self._recorded = ending
                if not others_done:
                    catch_up(client, self._folder.parent, self._uri, stop=self._leaving)
                    others_done = True
            except LeaseLost:  # the process that took over records the run
                self._recorded = True
                return
            except unreachable() as error:
                mirror = None
                self._complain(f"cannot be reached ({_first_line(error)})")
            if ending:
                return
            self._wake.wait(SECONDS)

    def _complain(self, why: str) -> None:
        if not self._said:
            self._said = True
            self._say(
                f"tracking: MLflow at {self._wanted['uri']} {why}; the run goes on, "
                "and the next run or `bessemer ui` records what is missing"
            )


def record(folder: Path) -> None:
    """Brings MLflow up to date on a run that has ended. Raises what `store.unreachable()` names."""
    wanted = storage.read_json(folder / NAME)
    with locked(folder / LOCK):
        _run_mirror(connect(with_credentials(wanted["uri"])), folder, wanted).synchronise()


def catch_up(client: MlflowClient, root: Path, uri: str, *, stop: threading.Event | None = None) -> int:
    """Records what MLflow lacks of the runs under `root` that are to be recorded at `uri` and do not run now.

    Costs one search for each experiment and two looks at file sizes for each run that is recorded already.
    """
    recorded: dict[str, dict[str, str]] = {}
    caught = 0
    for path in sorted(root.glob(f"*/{NAME}")):
        if stop is not None and stop.is_set():
            break
        wanted = storage.read_json(path)
        if not wanted or wanted["uri"] != redact(uri):
            continue
        experiment = wanted["experiment"]
        if experiment not in recorded:
            recorded[experiment] = _mirrored(client, experiment)
        if recorded[experiment].get(path.parent.name) == version(path.parent) or lease.holder(path.parent):
            continue
        with locked(path.parent / LOCK, wait=False) as free:
            if free:
                _run_mirror(client, path.parent, wanted).synchronise()
                caught += 1
    return caught


def registered_models(root: Path, *, only_aliased: bool) -> set[str]:
    """The fingerprints of the registered models, at every place where the runs under `root` are recorded.

    Raises TrackingUnreachable if one of them cannot be asked.
    """
    found: set[str] = set()
    uris = {wanted["uri"] for path in root.glob(f"*/{NAME}") if (wanted := storage.read_json(path))}
    database = root.absolute() / DATABASE  # also if its runs' folders were deleted
    for uri in sorted(uris | ({f"sqlite:///{database}"} if database.exists() else set())):
        try:
            found |= registry.fingerprints(connect(with_credentials(uri)), only_aliased=only_aliased)
        except unreachable() as error:
            raise TrackingUnreachable(
                f"the models that are registered at `{uri}` cannot be listed: {_first_line(error)}",
                hint="start the tracking server",
            ) from error
    return found


def _wanted(folder: Path, settings: TrackingSettings, uri: str, tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        "uri": redact(uri),
        "experiment": settings.experiment or read_run(folder, folder.parent).recipe,
        "tags": dict(tags),
        "register": settings.register_model,
    }


def _run_mirror(client: MlflowClient, folder: Path, wanted: dict[str, Any]) -> RunMirror:
    return RunMirror(
        client, wanted["uri"], folder, folder.parent, wanted["experiment"], wanted["tags"], register=wanted["register"]
    )


def _mirrored(client: MlflowClient, experiment: str) -> dict[str, str]:
    """The version of each run that MLflow has to the end, by the run's name."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return {}
    versions: dict[str, str] = {}
    token = None
    while True:
        page = client.search_runs([found.experiment_id], f"tags.`{MIRRORED_TAG}` != ''", page_token=token)
        versions |= {run.data.tags[RUN_TAG]: run.data.tags[MIRRORED_TAG] for run in page}
        token = page.token
        if not token:
            return versions


def _first_line(error: Exception) -> str:
    return redact((str(error).strip().splitlines() or [type(error).__name__])[0])
