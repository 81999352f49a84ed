"""Fixtures: folders of fake runs, and an MLflow store that records them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.tracking.fake_run import FakeRun, Recorded


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A separate cache folder, so that the tests create a database from scratch only once per session."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


@pytest.fixture
def recorded(cache: Path, tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


@pytest.fixture
def fake_run(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., FakeRun]:
    return lambda name, inside="": FakeRun(tmp_path, name, inside)
