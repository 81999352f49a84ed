"""Shared fixtures. Ray is started once per session, and only if a test needs it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from bessemer import environment

environment.prepare()
settings.register_profile("shared", deadline=None)  # the machines are shared, so the time of an example means nothing
settings.load_profile("shared")
REPOSITORY = Path(__file__).parents[1]


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Names long bytes by their argument: compressed ones contain the time, and processes must collect equal names."""
    return argname if isinstance(val, bytes) and len(val) > 8 else None


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def dataset() -> Callable[[str], Path]:
    """`dataset("site_apache")` returns the folder of a public data set, and skips the test if the data set is
    absent."""

    def find(name: str) -> Path:
        shared = Path(os.environ.get("BESSEMER_DATA", REPOSITORY.parent / "shared" / "data"))
        if not (shared / f"{name}.tar.xz").exists():
            pytest.skip(f"the data set `{name}` is not here; set BESSEMER_DATA to the folder that holds its archive")
        printed = subprocess.run(
            [sys.executable, shared / "unpack.py", name], check=True, capture_output=True, text=True
        ).stdout
        return Path(printed.strip().splitlines()[-1])

    return find


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A started `runner.cluster.Cluster` on two CPUs."""
    from bessemer.recipe.recipe import ClusterSettings
    from bessemer.runner.cluster import Cluster

    found = Cluster(ClusterSettings(object_store_bytes=128 << 20))
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="session")
def ray_session(cluster: Any) -> Any:
    """The `ray` module, attached to the session's own Ray."""
    return cluster.start()


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., Any]:
    """A stage's `Context` without a run: no Ray unless `start_ray` is given."""
    from bessemer.stages.base import Context

    def make(**changes: Any) -> Context:
        def no_ray() -> Any:
            raise AssertionError("this test does not start Ray")

        settings: dict[str, Any] = {
            "seed": 0,
            "num_workers": 0,
            "log": logging.getLogger("test"),
            "stop_file": tmp_path / "stop",
            "start_ray": no_ray,
        }
        return Context(**(settings | changes))

    return make


@pytest.fixture
def make_artifact(tmp_path: Path) -> Callable[..., Any]:
    """`make_artifact("documents")` returns (draft, seal): fill the draft's folders, then `seal()` returns an
    Artifact."""
    from bessemer.artifacts.manifest import Manifest, describe_files
    from bessemer.artifacts.store import Artifact
    from bessemer.fingerprint import fingerprint
    from bessemer.stages.base import Draft

    def make(kind: str, name: str = "") -> tuple[Draft, Callable[[], Artifact]]:
        draft = Draft(tmp_path / "artifacts" / (name or kind), fingerprint([kind, name]))

        def seal() -> Artifact:
            files, digest = describe_files(draft.path)
            manifest = Manifest(
                kind=kind,
                stage=name or kind,
                stage_version=1,
                fingerprint=draft.fingerprint,
                config={},
                resolved=draft.resolved,
                inputs={},
                files=files,
                digest=digest,
                counts=draft.counts,
                metrics=draft.metrics,
                versions={},
                seconds=0.0,
                attempts=1,
                created_at="2026-01-01T00:00:00.000Z",
            )
            manifest.write(draft.path)
            return Artifact(draft.path, manifest)

        return draft, seal

    return make
