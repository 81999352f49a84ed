"""inputs: the files that `paths` name; their names do not depend on the folder above."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from bessemer.errors import InputError
from bessemer.extract.cut import cut_into_units
from bessemer.extract.inputs import InputFile, describe, find_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/two.txt", "a.jsonl", "b/one.md", ".git/config", "b/.hidden.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "data"


def names(*paths: object) -> list[str]:
    return [file.relative for file in find_files([str(path) for path in paths])]


def test_files_folders_and_patterns(folder: Path) -> None:
    assert names(folder) == ["a.jsonl", "b/one.md", "b/two.txt"]
    assert names(folder / "b" / "two.txt") == ["two.txt"]
    assert names(folder / "**" / "*.txt") == ["b/two.txt"]
    assert names(folder / "*" / "*.md", folder / "a.jsonl") == ["a.jsonl", "b/one.md"]
    assert names(folder / "**") == names(folder, folder / "a.jsonl") == ["a.jsonl", "b/one.md", "b/two.txt"]


def test_identity_is_by_name_and_content_not_by_place(folder: Path) -> None:
    before = describe(find_files([str(folder)]))
    moved = folder.rename(folder.parent / "elsewhere")
    assert describe(find_files([str(moved)])) == before
    (moved / "a.jsonl").write_text("A.jsonl")
    assert describe(find_files([str(moved)])) != before


def test_what_is_not_there_or_not_clear_is_one_error_with_a_hint(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.jsonl").write_text("another")
    for paths, message in (
        ([folder / "absent"], "does not exist"),
        ([folder / "*.warc"], "matches no file"),
        ([tmp_path / "empty"], "contains no file"),
        (["s3://bucket/data"], "is not a local path"),
        ([folder, tmp_path / "other"], "two input files are both called `a.jsonl`"),
    ):
        with pytest.raises(InputError, match=message) as error:
            names(*paths)
        assert error.value.hint


def test_a_name_that_is_no_text_is_still_a_name(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert names(tmp_path) == ["caf\\xe9.txt"]


def test_units_are_cut_by_size_in_the_order_of_names(tmp_path: Path) -> None:
    def unit_names(files: list[InputFile], **limits: int) -> list[list[tuple[str, int, int | None]]]:
        return [[(p.relative, p.start, p.end) for p in unit] for unit in cut_into_units(files, **limits)]

    small = [InputFile(f"{number}.txt", f"/x/{number}.txt", 40) for number in range(5)]
    whole = [(f"{number}.txt", 0, None) for number in range(5)]
    assert unit_names(small, unit_bytes=100) == [whole[:2], whole[2:4], whole[4:]]
    large = tmp_path / "a.jsonl"
    large.write_text('{"text": "abc"}\n' * 10)
    assert unit_names([InputFile("a.jsonl", str(large), 160)], unit_bytes=64) == [
        [("a.jsonl", 0, 64)],
        [("a.jsonl", 64, 128)],
        [("a.jsonl", 128, 160)],
    ]
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(large.read_bytes()))
    (unit,) = cut_into_units([InputFile("a.jsonl.gz", str(packed), 160)], unit_bytes=64)
    assert (unit[0].format, unit[0].is_whole) == ("jsonl", True)
    ((piece,),) = cut_into_units([InputFile("a", str(large), 160)], "text", unit_bytes=640)
    assert piece.format == "text"
