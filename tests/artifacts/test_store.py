"""An artifact is whole or not there; damage on disk is found by its manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts import lease
from bessemer.artifacts.manifest import NAME, Manifest, describe_files
from bessemer.artifacts.store import FOLDERS, Store, files_of
from bessemer.errors import ArtifactDamaged


@pytest.fixture
def artifact(make_artifact: Callable[..., Any]) -> Any:
    draft, seal = make_artifact("documents")
    (draft.data / "a.bin").write_bytes(b"12345")
    (draft.ledger / "b.bin").write_bytes(b"67890")
    (draft.metrics_file).write_text("{}")
    return seal()


def test_the_manifest_lists_data_and_ledger_and_reads_back(artifact: Any) -> None:
    assert [file.path for file in artifact.manifest.files] == ["data/a.bin", "ledger/b.bin"]
    assert Manifest.read(artifact.path) == artifact.manifest
    artifact.verify(hashes=True)


def test_a_manifest_of_an_earlier_version_reads_back(artifact: Any) -> None:
    content = json.loads((artifact.path / "manifest.json").read_text())
    (artifact.path / "manifest.json").write_text(json.dumps(content | {"num_workers": "4"}))
    assert Manifest.read(artifact.path) == artifact.manifest


def test_equal_bytes_have_equal_digests_whatever_the_folder(artifact: Any, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "data"
    copy.mkdir(parents=True)
    (copy / "a.bin").write_bytes(b"12345")
    assert describe_files(tmp_path / "copy")[1] != artifact.manifest.digest
    (tmp_path / "copy" / "ledger").mkdir()
    (tmp_path / "copy" / "ledger" / "b.bin").write_bytes(b"67890")
    assert describe_files(tmp_path / "copy")[1] == artifact.manifest.digest


def test_a_file_cut_short_is_found_by_its_size(artifact: Any) -> None:
    (artifact.data / "a.bin").write_bytes(b"123")
    with pytest.raises(ArtifactDamaged, match="has 3 bytes, but its manifest says 5") as caught:
        artifact.verify(hashes=False)
    assert "--rerun documents" in caught.value.hint


def test_changed_bytes_are_found_by_their_hash(artifact: Any) -> None:
    (artifact.data / "a.bin").write_bytes(b"12346")
    artifact.verify(hashes=False)
    with pytest.raises(ArtifactDamaged, match="other bytes"):
        artifact.verify(hashes=True)


def test_a_missing_file_is_found(artifact: Any) -> None:
    (artifact.data / "a.bin").unlink()
    with pytest.raises(ArtifactDamaged, match="is missing"):
        artifact.verify(hashes=False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": 1}'])
def test_a_damaged_manifest_is_an_error_not_a_crash(artifact: Any, content: str) -> None:
    (artifact.path / NAME).write_text(content)
    with pytest.raises(ArtifactDamaged, match="cannot be read"):
        Manifest.read(artifact.path)


def test_no_manifest_no_artifact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.folder("clean", "f" * 32)
    (folder / "data").mkdir(parents=True)
    assert store.find("clean", "f" * 32) is None
    assert list(store.all()) == []


def test_readers_take_the_files_of_the_manifest(artifact: Any, make_artifact: Callable[..., Any]) -> None:
    draft, seal = make_artifact("documents", "parts")
    for name in ("b.parquet", "a.parquet", "c.jsonl"):
        (draft.data / name).write_text(name)
    (draft.ledger / "d.parquet").write_text("ledger")
    assert [path.name for path in files_of(draft.data)] == ["a.parquet", "b.parquet"], "there is no manifest yet"
    made = seal()
    (made.data / "aa.parquet").write_text("stray")
    (made.ledger / "aa.parquet").write_text("stray")
    assert [path.name for path in made.parts()] == ["a.parquet", "b.parquet"]
    assert [path.name for path in made.parts(".jsonl")] == ["c.jsonl"]
    assert files_of(made.data) == made.parts()
    assert [path.name for path in files_of(made.ledger)] == ["d.parquet"]
    made.verify(hashes=True)
    (made.path / NAME).write_text("damaged")
    assert len(files_of(made.data)) == 3


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_strange_file_is_an_error_where_files_are_read_by_their_names(
    make_artifact: Callable[..., Any], kind: str
) -> None:
    """A `chat_template.jinja` in a tokenizer's folder would be used."""
    draft, seal = make_artifact(kind)
    (draft.data / "config.json").write_text("{}")
    made = seal()
    made.verify(hashes=True)
    (made.data / "chat_template.jinja").write_text("")
    with pytest.raises(ArtifactDamaged, match=r"chat_template\.jinja` is not in the manifest"):
        made.verify(hashes=True)


def test_an_artifact_is_cleared_under_its_lease_and_removed_with_it(artifact: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    with lease.hold(artifact.path, "run", waiting=lambda owner: None) as held:
        store.clear(artifact.path)
        held.check()
        assert all(lease.is_part(path) for path in artifact.path.iterdir())
        store.remove(artifact.path)
        assert not list(artifact.path.parent.iterdir())
