"""Protects: the list of runs names each run's commit, command line and most important score."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from tests.runner.toy import HOOKS

from bessemer import cli, storage
from bessemer.report.build import build
from bessemer.report.facts import Facts
from bessemer.runner import runs
from bessemer.runner.runs import Run


def make_run(root: Path, stages: list[tuple[str, str, dict[str, float] | None, dict[str, Any]]]) -> Run:
    """A run whose stages are (kind, produces, metrics or None if unfinished, resolved)."""
    run = Run(root / "x-20260101-000000-0000")
    planned = []
    for kind, produces, metrics, resolved in stages:
        planned.append({"name": kind, "kind": kind, "produces": produces, "fingerprint": "f"})
        if metrics is not None:
            manifest = {"metrics": metrics, "resolved": resolved}
            storage.write_json(root / "artifacts" / kind / "f" / "manifest.json", manifest)
    storage.write_json(run.folder / "plan.json", {"recipe": "x", "stages": planned})
    source = {"git_commit": "0123456789abcdef0123456789abcdef01234567", "git_dirty": True}
    runs.start(run, command="bessemer run x.yaml seed=2", attempt=1, source=source)
    return run


def test_an_evaluation_names_the_headline(tmp_path: Path) -> None:
    scores = {"evaluate/arc/acc": 0.5, "evaluate/bits_per_byte/bits_per_byte": 1.2}
    named = {"headline": "evaluate/bits_per_byte/bits_per_byte"}
    run = make_run(
        tmp_path, [("pretrain", "model", {"validation/loss": 3.0}, {}), ("evaluate", "scores", scores, named)]
    )
    assert run.headline() == ("evaluate/bits_per_byte/bits_per_byte", 1.2)


def test_without_an_evaluation_the_last_model_counts(tmp_path: Path) -> None:
    trained = {"train/tokens": 9.0, "validation/bits_per_byte": 1.9, "validation/loss": 3.0}
    stages = [("pretrain", "model", trained, {}), ("evaluate", "scores", None, {})]
    assert make_run(tmp_path, stages).headline() == ("validation/bits_per_byte", 1.9)


def test_a_run_without_a_model_has_no_headline(tmp_path: Path) -> None:
    assert make_run(tmp_path, [("clean", "documents", {"data/documents_out": 3.0}, {})]).headline() is None


def test_the_list_shows_commit_score_and_command(tmp_path: Path) -> None:
    make_run(tmp_path, [("pretrain", "model", {"validation/loss": 3.25}, {})])
    shown = CliRunner().invoke(cli.bessemer, ["runs", "--storage-path", str(tmp_path)]).output
    assert "0123456789+" in shown
    assert "validation/loss 3.25" in shown
    assert "bessemer run x.yaml seed=2" in shown
    facts = json.loads(CliRunner().invoke(cli.bessemer, ["runs", "--json", "--storage-path", str(tmp_path)]).output)
    assert facts[0]["git_commit"] == "0123456789abcdef0123456789abcdef01234567"
    assert facts[0]["headline"] == {"metric": "validation/loss", "value": 3.25}


def test_a_running_run_shows_the_elapsed_time(execute: Any) -> None:
    """The elapsed time appears in `status`, in its JSON and in the report."""
    seen: dict[str, Any] = {}

    def look(draft: Any, context: Any) -> None:
        run = runs.find(execute.root, "@last")
        file = run.folder / runs.EVENTS
        early = re.sub(r'"time": "[^"]+"', '"time": "2026-01-01T00:00:00.000Z"', file.read_text())
        file.write_text(early)
        text = CliRunner().invoke(cli.bessemer, ["status", "--storage-path", str(execute.root)]).output
        seen.update(
            text=text, elapsed=run.elapsed(), stage=run.stages()["double"]["seconds"], facts=Facts.of(run.folder)
        )
        seen["report"] = build(run.folder)

    HOOKS["look"] = look
    run, _ = execute("double.hook=look")
    assert min(seen["elapsed"], seen["stage"]) > 86_400
    assert re.search(r": running for \d+d \d\dh\n", seen["text"])
    assert re.search(r"double +started +\d+d \d\dh", seen["text"])
    assert "running for" in seen["report"]
    assert seen["facts"].seconds > 86_400
    assert run.elapsed() is not None
    assert ": running" not in CliRunner().invoke(cli.bessemer, ["status", "--storage-path", str(execute.root)]).output


def test_a_trial_is_found_by_its_folder_under_any_storage_path(execute: Any, tmp_path: Path) -> None:
    run, _ = execute()
    trial = run.folder / "trials" / "t"
    trial.mkdir(parents=True)
    for name in ("plan.json", runs.EVENTS):
        (trial / name).write_bytes((run.folder / name).read_bytes())
    nowhere = tmp_path / "other"
    assert runs.find(nowhere, str(trial)).artifact_folder("join") == run.artifact_folder("join")
    assert runs.find(nowhere, str(run.folder)).artifact_folder("join") == run.artifact_folder("join")
