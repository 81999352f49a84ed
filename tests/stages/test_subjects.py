"""Protects: every path that leads to a model resolves to the same folder, for recipes and for commands alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bessemer.errors import InputError, UsageError
from bessemer.runner.models import find_model as named
from bessemer.stages.subjects import find_model


def make_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def make_run(storage: Path, name: str, stages: list[tuple[str, str, str]]) -> Path:
    """A run folder whose plan lists (stage kind, fingerprint, produces)."""
    folder = storage / name
    folder.mkdir(parents=True)
    plan = {"stages": [{"kind": kind, "fingerprint": mark, "produces": made} for kind, mark, made in stages]}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "events.jsonl").write_text("")
    return folder


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Two runs: the older one has a tuned model, the newer one has not finished its second model."""
    root = tmp_path / "runs"
    for kind, mark in (("pretrain", "aa"), ("finetune", "bb"), ("pretrain", "cc")):
        make_model(root / "artifacts" / kind / mark / "data")
        (root / "artifacts" / kind / mark / "manifest.json").write_text("{}")
    make_model(root / "artifacts" / "finetune" / "dd" / "data")  # no manifest: still being written
    make_run(root, "x-20260101-000000-0000", [("pretrain", "aa", "model"), ("finetune", "bb", "model")])
    make_run(
        root,
        "x-20260102-000000-0000",
        [("pretrain", "cc", "model"), ("finetune", "dd", "model"), ("evaluate", "ee", "scores")],
    )
    return root


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("plain", "plain"),
        ("artifact", "artifact/data"),
        ("artifact/checkpoints/step-40", "artifact/checkpoints/step-40/model"),
        ("unfinished", "unfinished/checkpoints/step-100/model"),
        ("unfinished/checkpoints", "unfinished/checkpoints/step-100/model"),
    ],
)
def test_a_path_leads_to_its_model(tmp_path: Path, path: str, model: str) -> None:
    make_model(tmp_path / "plain")
    make_model(tmp_path / "artifact" / "data")
    make_model(tmp_path / "artifact" / "checkpoints" / "step-40" / "model")
    for step in (9, 100, 20):
        make_model(tmp_path / "unfinished" / "checkpoints" / f"step-{step}" / "model")
    assert find_model(str(tmp_path / path)) == tmp_path / model
    assert named(tmp_path / "runs", str(tmp_path / path)) == tmp_path / model


def test_a_run_leads_to_its_last_finished_model(storage: Path) -> None:
    artifacts = storage / "artifacts"
    older, newer = storage / "x-20260101-000000-0000", storage / "x-20260102-000000-0000"
    assert find_model(str(older)) == artifacts / "finetune" / "bb" / "data"
    assert find_model(str(newer)) == artifacts / "pretrain" / "cc" / "data"
    assert named(storage, older.name) == artifacts / "finetune" / "bb" / "data"
    assert named(storage, "@last") == artifacts / "pretrain" / "cc" / "data"


def test_a_trial_finds_the_artifacts_that_its_sweep_shares(storage: Path) -> None:
    trial = make_run(storage / "sweep" / "trials", "trial-1", [("pretrain", "aa", "model")])
    assert find_model(str(trial)) == storage / "artifacts" / "pretrain" / "aa" / "data"
    assert named(storage, str(trial)) == storage / "artifacts" / "pretrain" / "aa" / "data"


def test_a_folder_without_a_model_is_an_error_with_a_hint(storage: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no model"):
        find_model(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="holds no model"):
        named(storage, str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="there is no run `y`"):
        named(storage, "y")
