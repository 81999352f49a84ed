"""The git commit of the checkout around a recipe."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

VARIABLE = "BESSEMER_GIT_COMMIT"
"""A job has no `.git`, so `submit` passes the submitter's commit in this variable: the hash, and `-dirty` after it."""
DIRTY = "-dirty"
SECONDS = 5.0


def git_state(folder: Path) -> dict[str, Any]:
    """`git_commit` (40 hex digits) and `git_dirty` (tracked files differ from it) of the checkout around `folder`.

    Empty if `folder` is not in a checkout, or git is not installed or does not answer within 5 s.
    """
    if given := os.environ.get(VARIABLE):
        return {"git_commit": given.removesuffix(DIRTY), "git_dirty": given.endswith(DIRTY)}
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return {}
    return {"git_commit": commit, "git_dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def as_variable(folder: Path) -> dict[str, str]:
    """The environment variable that carries `git_state(folder)` to another machine; empty without a commit."""
    state = git_state(folder)
    return {VARIABLE: state["git_commit"] + (DIRTY if state["git_dirty"] else "")} if state else {}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
