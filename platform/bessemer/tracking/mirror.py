"""Keeps MLflow up to date from a thread, so that a run never waits for MLflow and never fails because of it.

At the start of a run, the mirror writes the URI, the experiment and the tags to `tracking.json` in the run's folder. If
the recording fails later, the next run under the same storage path or `bessemer ui` completes it with `catch_up`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bessemer import fences, storage
from bessemer.artifacts import lease
from bessemer.commands import with_storage_path
from bessemer.credentials import redact
from bessemer.errors import LeaseLost, RecipeError, TrackingUnreachable
from bessemer.recipe import yaml
from bessemer.recipe.recipe import TrackingSettings
from bessemer.tracking import registry
from bessemer.tracking.records import read_run, version
from bessemer.tracking.store import (
    ARTIFACTS,
    DATABASE,
    OWN_DATABASE,
    connect,
    locked,
    own_database,
    resolve_uri,
    stored_uri,
    unreachable,
    usable_uri,
)
from bessemer.tracking.synchronise import MIRRORED_TAG, RUN_TAG, RunMirror

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "tracking.json"
LOCK = ".tracking.lock"
_SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([^'\")(]+)")
"""How urllib3 and requests quote a system error, deep inside of a message."""
SECONDS = 3.0
"""Seconds between two reads of a run's files."""
LAST_SECONDS = 30.0
"""Longest wait of a finished run for the recording of its last points, in seconds."""
STOPPED_SECONDS = 2.0
"""The same for a failed or stopped run. It is shorter because Ray gives a stopped job only 3 s."""


class Mirror:
    """Records one run in MLflow during the run.

    with Mirror(run.folder, recipe.settings.tracking, say, tags) as mirror:
        ...                     # the work of the run
        mirror.finish()         # after the event `run_finished`
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
        """Adds tags to the run, also for a recording by `catch_up`."""
        self._wanted["tags"].update(tags)
        storage.write_json(self._folder / NAME, self._wanted)

    def finish(self) -> None:
        """Records the rest, for at most `LAST_SECONDS`. Logs a message if that is not enough."""
        self._end(LAST_SECONDS)

    def leave(self) -> None:
        """Ends without waiting. The next run or `bessemer ui` records the rest."""
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
                self._complain("is too slow" if self._thread.is_alive() else "has not recorded the whole run")

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
            text = (
                f"tracking: MLflow at {redact(self._uri)} {why}; this does not affect "
                "the run, and the next run or `bessemer ui` records the rest"
            )
            self._say(with_storage_path(text, self._folder.parent))


def record(folder: Path) -> None:
    """Brings MLflow up to date on a run that has ended. Raises the exceptions of `store.unreachable()`."""
    wanted = read_wanted(folder)
    assert wanted is not None, "the run is recorded"
    with locked(folder / LOCK):
        _run_mirror(connect(usable_uri(wanted["uri"], folder.parent)), folder, wanted).synchronise()


def catch_up(client: MlflowClient, root: Path, uri: str, *, stop: threading.Event | None = None) -> int:
    """Records the missing parts of all ended runs under `root` whose tracking URI is `uri`; returns the number of runs.

    Costs one search per experiment, and a few file sizes per run that is fully recorded. A `stop` event ends it early.
    """
    recorded: dict[str, dict[str, str]] = {}
    caught = 0
    for path in sorted(root.glob(f"*/{NAME}")):
        if stop is not None and stop.is_set():
            break
        wanted = read_wanted(path.parent)
        if not wanted or wanted["uri"] != stored_uri(uri, root):
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
    """The fingerprints of the registered models, from every MLflow store that records runs under `root`.

    Raises TrackingUnreachable if a store is unreachable.
    """
    found: set[str] = set()
    uris = {wanted["uri"] for path in root.glob(f"*/{NAME}") if (wanted := read_wanted(path.parent))}
    if (root / DATABASE).exists():
        uris.add(OWN_DATABASE)  # also if the folders of its runs were deleted
    elif not (root / ARTIFACTS).exists():
        uris.discard(OWN_DATABASE)  # no run was recorded yet
    for stored in sorted(uris):
        try:
            client = connect(usable_uri(stored, root), create=False)
            found |= registry.fingerprints(client, only_aliased=only_aliased)
        except TrackingUnreachable as error:
            error.message = f"cannot list the models that are registered at `{stored}`: {error.message}"
            raise
        except unreachable() as error:
            raise TrackingUnreachable(
                f"cannot list the models that are registered at `{stored}`: {_first_line(error)}",
                hint="start the tracking server; if a database is missing, move it back, or record the runs again with "
                "`bessemer ui`",
            ) from error
    return found


def read_wanted(folder: Path) -> dict[str, Any] | None:
    """The recording that a run asks for, by its `tracking.json`; None if the run is not recorded.

    A damaged file is rebuilt from the recipe's settings. Earlier versions wrote the absolute path of the database under
    the storage path; it is found there, also if the storage was moved.
    """
    root = folder.parent
    try:
        wanted = storage.read_json(folder / NAME)
    except ValueError:
        wanted = ()
    if wanted is None and not (folder / NAME).exists():
        return None
    settings, place = _recorded_settings(folder)
    if not isinstance(wanted, dict) or not isinstance(wanted.get("uri"), str):
        wanted = {"uri": stored_uri(resolve_uri(settings.uri, root), root)}
    elif wanted["uri"] in (own_database(root), own_database(Path(place)) if place else None):
        wanted["uri"] = OWN_DATABASE
    tags = wanted.get("tags")
    return {
        "uri": wanted["uri"],
        "experiment": wanted.get("experiment") or settings.experiment or read_run(folder, root).recipe,
        "tags": tags if isinstance(tags, dict) else {},
        "register": wanted.get("register", settings.register_model),
    }


def _recorded_settings(folder: Path) -> tuple[TrackingSettings, str]:
    """The recipe's settings of tracking and its storage path; the defaults if its file is damaged."""
    try:
        resolved = yaml.parse((folder / "resolved.yaml").read_text(encoding="utf-8")).value
        return TrackingSettings(**(resolved.get("tracking") or {})), str(resolved.get("storage_path", ""))
    except (OSError, UnicodeDecodeError, RecipeError, ValidationError, AttributeError, TypeError):
        return TrackingSettings(), ""


def _wanted(folder: Path, settings: TrackingSettings, uri: str, tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        "uri": stored_uri(uri, folder.parent),
        "experiment": settings.experiment or read_run(folder, folder.parent).recipe,
        "tags": dict(tags),
        "register": settings.register_model,
    }


def _run_mirror(client: MlflowClient, folder: Path, wanted: dict[str, Any]) -> RunMirror:
    return RunMirror(
        client, wanted["uri"], folder, folder.parent, wanted["experiment"], wanted["tags"], register=wanted["register"]
    )


def _mirrored(client: MlflowClient, experiment: str) -> dict[str, str]:
    """Maps the names of runs that MLflow has recorded to their end to `records.version` at that time."""
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
    """The reason of the operating system if the message names it, else the first line of the message."""
    text = str(error).strip()
    if found := _SYSTEM_ERROR.search(text):
        return found[1]
    return redact((text.splitlines() or [type(error).__name__])[0])
