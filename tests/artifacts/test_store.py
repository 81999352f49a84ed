"""An artifact is whole or not there; damage on disk is found by its manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bessemer.artifacts.manifest import NAME, Manifest, describe_files
from bessemer.artifacts.store import Store
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
    with pytest.raises(ArtifactDamaged, match="has 3 bytes where its manifest says 5") as caught:
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
