"""Protects: a wheel holds everything that the product needs outside its source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest


def run(*command: str | Path, folder: Path) -> str:
    """Runs a command in `folder` without the variables that lead to the source tree; returns both outputs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment with the wheel; the dependencies come from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    run(
        sys.executable, *pip, "wheel", repository, "--no-deps", "--no-build-isolation", "--wheel-dir", folder,
        folder=folder,
    )  # fmt: skip
    venv.create(folder / "env", with_pip=False)
    packages = next((folder / "env" / "lib").iterdir()) / "site-packages"
    # The path files of a folder that is added this way are not read, so the source tree stays out.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    wheel = next(folder.glob("*.whl"))
    run(
        sys.executable, "-m", "pip", "--python", folder / "env" / "bin" / "python", "--quiet", "install",
        "--no-deps", "--ignore-installed", wheel, folder=folder,
    )  # fmt: skip
    return folder / "env" / "bin"


def test_the_package_comes_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import bessemer; print(bessemer.__file__)"
    assert run(installed / "python", "-c", code, folder=tmp_path).startswith(str(installed.parent))


def test_every_recipe_can_be_copied_and_the_quickstart_planned(
    installed: Path, repository: Path, tmp_path: Path
) -> None:
    names = sorted(path.parent.name for path in repository.glob("pipelines/*/recipe.yaml"))
    assert "quickstart" in names
    for name in names:
        assert "next: bessemer plan" in run(installed / "bessemer", "init", name, "--from", name, folder=tmp_path)
        copied = (tmp_path / name / "recipe.yaml").read_text()
        assert copied == (repository / "pipelines" / name / "recipe.yaml").read_text()
    assert "docsite" in run(installed / "bessemer", "plan", "quickstart/recipe.yaml", folder=tmp_path)


def test_a_run_works_without_the_source_tree(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "one.txt").write_text("A wheel that holds the whole product can read one document.\n")
    recipe = "name: one\nnum_workers: 0\nstages:\n  ingest: {paths: [documents]}\n  clean: {rules: [normalise]}\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    assert "report:" in run(installed / "bessemer", "run", "recipe.yaml", folder=tmp_path)
    assert next((tmp_path / "runs").glob("one-*/report.html")).stat().st_size > 10_000
