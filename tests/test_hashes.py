"""Cached hashes are correct after every change of a file, and unchanged files are not read again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from bessemer import hashes


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "SETTLED_SECONDS", -1.0)
    return tmp_path / "cache" / "bessemer" / "hashes.sqlite"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name * 100)
    return paths


def expected(paths: list[Path]) -> list[str]:
    return [sha256(path.read_bytes()).hexdigest() for path in paths]


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "file_sha256", lambda path: pytest.fail(f"{path} was read again"))


def test_an_unchanged_file_is_read_once(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = expected(files)
    assert hashes.sha256_of(files) == wanted
    forbid_reading(monkeypatch)
    assert hashes.sha256_of(files[::-1]) == wanted[::-1]


def test_a_changed_file_is_read_even_if_its_size_and_time_are_as_before(files: list[Path]) -> None:
    hashes.sha256_of(files)
    before = files[0].stat()
    files[0].write_text("z" * 100)
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hashes.sha256_of(files) == expected(files)


def test_a_file_that_has_just_been_written_is_not_remembered(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "SETTLED_SECONDS", 3600.0)
    hashes.sha256_of(files)
    monkeypatch.setattr(hashes, "file_sha256", lambda path: "read again")
    assert hashes.sha256_of(files) == ["read again"] * 3


@pytest.mark.parametrize("damage", ["folder is a file", "not a database"])
def test_without_a_usable_cache_files_are_read(files: list[Path], cache: Path, damage: str) -> None:
    if damage == "folder is a file":
        cache.parent.parent.write_text("")
    else:
        cache.parent.mkdir(parents=True)
        cache.write_text("no database" * 1000)
    assert hashes.sha256_of(files) == expected(files)


def test_one_file_by_two_names_and_none_at_all(files: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(files[0])
    assert hashes.sha256_of([files[0], link, files[0]]) == expected([files[0], link, files[0]])
    assert hashes.sha256_of([]) == []
