"""Protects: a run records the commit of its recipe, even if it runs as a job on another machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bessemer.runner.source_code import VARIABLE, as_variable, git_state


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit, and a recipe in a folder below."""
    recipe = tmp_path / "recipes" / "recipe.yaml"
    recipe.parent.mkdir()
    recipe.write_text("name: x\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "--quiet", "-m", "one")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_recipe_in_a_checkout_has_its_commit(checkout: Path) -> None:
    recipe = checkout / "recipes" / "recipe.yaml"
    commit = git(checkout, "rev-parse", "HEAD")
    assert git_state(recipe.parent) == {"git_commit": commit, "git_dirty": False}
    (checkout / "notes.txt").write_text("an untracked file changes nothing that a run reads from git")
    assert git_state(recipe.parent)["git_dirty"] is False
    recipe.write_text("name: y\n")
    assert git_state(recipe.parent)["git_dirty"] is True


def test_a_folder_without_a_checkout_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == {}
    assert as_variable(tmp_path) == {}
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) == {}, "a checkout without a commit"


def test_a_machine_without_git_has_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) == {}


def test_a_job_knows_the_commit_of_its_submitter(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "recipes" / "recipe.yaml").write_text("name: y\n")
    sent = as_variable(checkout)
    expected = git_state(checkout)
    monkeypatch.setenv(VARIABLE, sent[VARIABLE])
    assert git_state(tmp_path / "elsewhere") == expected
