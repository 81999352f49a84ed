"""Fixtures: an installed example distribution, and sites rendered once for all tests."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bessemer.docsite import catalog
from bessemer.docsite.sites import Sites, render

PACKAGES, MAX_PAGES = ["click"], 220


@pytest.fixture(scope="session")
def standard_library() -> catalog.Package:
    return catalog.read_standard_library()


@pytest.fixture(scope="session")
def rendered(standard_library: catalog.Package) -> Iterator[Sites]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "read_standard_library", lambda: standard_library)
        yield render(PACKAGES, MAX_PAGES)


@pytest.fixture(scope="session")
def site_folder(rendered: Sites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sites")
    rendered.write(folder)
    return folder


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], str]:
    """`distribution({"pkg/__init__.py": source, ...})` installs a distribution and returns its name."""

    def install(files: dict[str, str], readme: str = "A distribution for tests.") -> str:
        information = tmp_path / "exampledist-1.0.dist-info"
        information.mkdir()
        about = "Metadata-Version: 2.4\nName: exampledist\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n"
        (information / "METADATA").write_text(f"{about}\n{readme}\n")
        (information / "RECORD").write_text("".join(f"{name},,\n" for name in files))
        for name, source in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        return "exampledist"

    monkeypatch.syspath_prepend(tmp_path)
    return install
