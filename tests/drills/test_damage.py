"""Damage to each file that describes a run or an artifact is reported or repaired, and never causes a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bessemer import cli
from bessemer.errors import BessemerError
from bessemer.runner import runs

pytestmark = pytest.mark.drill

RECIPE = """
name: drill
num_workers: 0
stages:
  ingest: {paths: [texts], split: {validation: 0}}
  clean: {rules: [normalise]}
"""
DAMAGE = (b"", b"null", b'{"half": ', b"\xff\xfe\x00", b"[1, 2]")


@pytest.mark.parametrize("content", DAMAGE)
def test_damage_to_each_file_of_a_run_and_an_artifact_is_found_or_repaired(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "texts").mkdir()
    for number in range(3):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"Text {number}.")
    root, kept = tmp_path / "runs", tmp_path / "kept"
    command = [sys.executable, "-m", "bessemer", "run", "recipe.yaml", f"storage_path={root}"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    assert run().returncode == 0
    shutil.copytree(root, kept)
    (made,) = runs.all_runs(root)
    files = [path for path in made.folder.iterdir() if path.suffix in (".json", ".jsonl", ".yaml")]
    files += [path for path in root.glob("artifacts/*/*/*") if path.is_file()]
    assert {path.name for path in files} >= {"plan.json", "events.jsonl", "tracking.json", "manifest.json"}
    for file in files:
        file.write_bytes(content)
        for words in ("runs", "status", "gc", "show clean"):
            answer = CliRunner().invoke(cli.bessemer, [*words.split(), "--storage-path", str(root)])
            told = answer.exception is None or isinstance(answer.exception, BessemerError | SystemExit)
            assert told, (file, words, answer.exc_info)
        lease_of_artifact = file.name.startswith("lease-") and file.parent != made.folder
        if not lease_of_artifact:  # other processes believe it for a minute; the tests of the lease cover this
            again = run()
            assert "Traceback" not in again.stderr, (file, again.stderr)
            if file.name == "manifest.json" and again.returncode == 1:
                again = run("--rerun", file.parents[1].name)
            assert again.returncode == 0, (file, again.stderr)
        shutil.rmtree(root)
        shutil.copytree(kept, root)
