"""The pages under docs/reference are those that `make docs` writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_reference_is_not_stale(tmp_path: Path, repository: Path) -> None:
    subprocess.run([sys.executable, repository / "docs" / "make_reference.py", tmp_path], check=True)
    written = {path.relative_to(tmp_path): path.read_text("utf-8") for path in tmp_path.rglob("*.md")}
    folder = repository / "docs" / "reference"
    kept = {path.relative_to(folder): path.read_text("utf-8") for path in folder.rglob("*.md")}
    stale = sorted(str(name) for name in written.keys() | kept.keys() if written.get(name) != kept.get(name))
    assert not stale, "run `make docs`"
