"""Protects: every path that leads to a model resolves to the same folder, for recipes and for commands alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bessemer import hashes
from bessemer.artifacts.manifest import Manifest, describe_files
from bessemer.errors import ArtifactDamaged, InputError, UsageError
from bessemer.fingerprint import file_sha256
from bessemer.runner.models import find_model as named
from bessemer.stages.engine.named_models import content, find_model
from bessemer.storage import write_json


def make_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def seal(folder: Path) -> None:
    """Writes the manifest of a model artifact."""
    files, digest = describe_files(folder)
    facts: dict[str, Any] = {"config": {}, "resolved": {}, "inputs": {}, "metrics": {}, "versions": {}, "counts": None}
    Manifest(
        kind="model", stage=folder.parent.name, stage_version=1, fingerprint=folder.name, files=files, digest=digest,
        seconds=0.0, attempts=1, created_at="2026-01-01T00:00:00.000Z", **facts,
    ).write(folder)  # fmt: skip


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
        seal(root / "artifacts" / kind / mark)
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


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A finished model and one of a checkpoint, each with weights and a tokenizer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = {"artifact": tmp_path / "artifact" / "data", "checkpoint": tmp_path / "step-40" / "model"}
    for folder in found.values():
        make_model(folder)
        (folder / "model.safetensors").write_bytes(bytes(range(256)) * 100)
        (folder / "tokenizer.json").write_text("{}")
    seal(tmp_path / "artifact")
    files = {
        f"model/{file.name}": {"size": file.stat().st_size, "sha256": file_sha256(file)}
        for file in found["checkpoint"].iterdir()
    }
    write_json(tmp_path / "step-40" / "manifest.json", {"step": 40, "facts": {}, "files": files})
    return found


@pytest.mark.parametrize("kind", ["artifact", "checkpoint"])
def test_a_model_that_is_not_as_it_was_written_is_not_used(tmp_path: Path, models: dict[str, Path], kind: str) -> None:
    """`generate` and `chat` find it by `runner.models`; an evaluation describes it in its plan."""
    folder = models[kind]
    assert named(tmp_path, str(folder.parent)) == folder
    assert len(content({"other": str(folder.parent)})) == 1
    flip_a_byte(folder / "model.safetensors")
    with pytest.raises(ArtifactDamaged, match=r"model\.safetensors` does not match the SHA-256"):
        named(tmp_path, str(folder.parent))
    with pytest.raises(ArtifactDamaged, match=r"model\.safetensors` does not match the SHA-256"):
        content({"other": str(folder.parent)})
    flip_a_byte(folder / "model.safetensors")
    (folder / "chat_template.jinja").write_text("read if it exists")
    with pytest.raises(ArtifactDamaged, match="was not written with its model"):
        named(tmp_path, str(folder.parent))
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ArtifactDamaged, match="is missing"):
        named(tmp_path, str(folder.parent))


def test_a_byte_that_rots_without_a_new_time_is_found_by_the_commands(
    tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk changes a byte without a trace in the file's times, so remembered hashes do not help."""
    monkeypatch.setattr(hashes, "SETTLED_SECONDS", -1.0)
    monkeypatch.setattr(hashes, "state", lambda found: "as ever")
    folder = models["artifact"]
    hashes.sha256_of(sorted(folder.iterdir()))
    flip_a_byte(folder / "model.safetensors")
    with pytest.raises(ArtifactDamaged, match="does not match the SHA-256"):
        named(tmp_path, str(folder))


def test_a_damaged_manifest_of_a_checkpoint_is_an_error(tmp_path: Path, models: dict[str, Path]) -> None:
    (tmp_path / "step-40" / "manifest.json").write_text('{"files": ')
    with pytest.raises(ArtifactDamaged, match="cannot be read"):
        named(tmp_path, str(models["checkpoint"]))


def test_a_folder_without_a_model_is_an_error_with_a_hint(storage: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no model"):
        find_model(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="holds no model"):
        named(storage, str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="no run is called `y`"):
        named(storage, "y")
