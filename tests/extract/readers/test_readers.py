"""A new format needs one `Reader` in the list: files are found, cut and read, and messages name its suffix."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bessemer.extract import cut, formats, reading
from bessemer.extract.inputs import find_files
from bessemer.extract.readers import READERS
from bessemer.extract.readers.base import Cut, Piece, Reader
from bessemer.extract.records import ExtractedRecord
from bessemer.extract.settings import ReaderSettings


def read_paragraphs(piece: Piece, settings: ReaderSettings) -> Iterator[ExtractedRecord]:
    """One record per paragraph of the bytes from `start` to `end`."""
    text = piece.checked_path().read_bytes()[piece.start : piece.end]
    for number, paragraph in enumerate(text.split(b"\n\n"), start=piece.first_record):
        yield piece.record(settings, number, content=paragraph)


def two_halves(path: Path, target_bytes: int) -> list[Cut]:
    middle = path.read_bytes().index(b"\n\n", target_bytes)
    return [Cut(0, middle, 1, middle), Cut(middle + 2, path.stat().st_size, 100, middle)]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    reader = Reader("paragraphs", (".par",), read_paragraphs, split=two_halves, magic=b"PARAGRAP")
    with monkeypatch.context() as patch:
        patch.setitem(READERS, "paragraphs", reader)
        importlib.reload(formats)
        for module in (cut, reading):
            patch.setattr(module, "find_format", formats.find_format, raising=False)
        yield
    importlib.reload(formats)


@pytest.mark.usefixtures("registered")
def test_a_new_reader_is_one_object_in_the_list(tmp_path: Path) -> None:
    (tmp_path / "a.par").write_bytes(b"PARAGRAPHS\n\nsecond\n\nthird")
    (tmp_path / "without_suffix").write_bytes(b"PARAGRAPHS\n\n" + b"long " * 400_000 + b"\n\nend")
    files = find_files([str(tmp_path)])
    assert [formats.find_format(file) for file in files] == ["paragraphs", "paragraphs"]
    assert ".par" in formats.READABLE
    units = cut.cut_into_units(files, unit_bytes=1 << 20)
    pieces = [piece for unit in units for piece in unit]
    assert [piece.relative for piece in pieces] == ["a.par", "without_suffix", "without_suffix"]
    records = [record for piece in pieces for record in reading.read(piece, ReaderSettings())]
    assert [record.url.partition("#")[2] for record in records] == ["1", "2", "3", "1", "2", "100"]
    assert [record.content for record in records][-1] == b"end"
