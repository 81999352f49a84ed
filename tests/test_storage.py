"""A file is complete or does not exist. Write errors of the operating system have a hint."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer import formatting, storage
from bessemer.errors import StorageError


def test_a_local_path_is_absolute_and_a_url_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert storage.local_path("runs") == tmp_path / "runs"
    assert storage.local_path("runs", Path("/other")) == Path("/other/runs")
    assert storage.local_path("~/runs") == Path("/home/someone/runs")
    assert storage.local_path("/a:b/c") == Path("/a:b/c")
    for url in ("s3://bucket/path", "s3:/bucket", "gs://b", "file:///a"):
        with pytest.raises(ValueError, match="local folder"):
            storage.local_path(url)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    storage.write_text(path, "old")

    def fail_half_way() -> None:
        with storage.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    storage.append_line(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"a": 2')
    assert list(storage.read_lines(path)) == [{"a": 1}]


@pytest.mark.parametrize(("number", "word"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "cannot be written")])
def test_refusals_become_errors_with_a_hint(tmp_path: Path, number: int, word: str) -> None:
    with pytest.raises(StorageError, match=word) as caught, storage.explained(tmp_path):
        raise OSError(number, os.strerror(number))
    assert "storage_path" in caught.value.hint


@given(st.integers(0, 2**50))
def test_sizes_are_read_back_within_their_rounding(size: int) -> None:
    shown = formatting.format_bytes(size)
    assert formatting.parse_bytes(shown) == pytest.approx(size, rel=0.01, abs=1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4s"), (9.97, "10s"), (59.6, "1m 00s"), (252, "4m 12s"), (7500, "2h 05m")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert formatting.format_seconds(seconds) == text


def test_a_line_after_a_torn_one_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    storage.append_line(path, {"n": 1})
    with path.open("ab") as file:
        file.write(b'{"n": 2, "torn')
    storage.append_line(path, {"n": 3})
    assert [line["n"] for line in storage.read_lines(path)] == [1, 3]


def test_a_line_that_is_written_in_part_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:3]))
    with pytest.raises(StorageError, match="no space left"):
        storage.append_line(tmp_path / "events.jsonl", {"n": 1})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10190.0, "10.2k"), (10190.4, "10.2k"), (9999.7, "10000"), (1234.56, "1235"), (999.96, "1000"), (950, "950"),
        (0.56612, "0.5661"), (12.3456, "12.35"), (-20000, "-20k"), (1.5e-05, "1.5e-05"), (2.499e6, "2.5M"),
        (float("nan"), "nan"), (float("inf"), "inf"), (0.0, "0"),
    ],
)  # fmt: skip
def test_a_number_for_people_never_has_a_positive_exponent(value: float, text: str) -> None:
    assert formatting.format_number(value) == text


@given(st.floats(min_value=1, max_value=1e15))
def test_no_count_has_an_exponent(value: float) -> None:
    assert "e" not in formatting.format_count(value)
    assert "e" not in formatting.format_number(value)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("94369 requested and 8192 written"),
        RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0"),
        RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_is_recognised_in_the_words_of_every_library(error: Exception, tmp_path: Path) -> None:
    found = storage.no_space(error, tmp_path)
    assert found is not None
    assert "no space left" in found.message


@pytest.mark.parametrize("error", [OSError("3 requested"), ValueError("space"), OSError(errno.EIO, "I/O error")])
def test_other_errors_are_not_a_full_disk(error: Exception, tmp_path: Path) -> None:
    assert storage.no_space(error, tmp_path) is None


def test_a_full_disk_while_numpy_writes() -> None:
    """The error has no number. /dev/full behaves like a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError) as caught, open("/dev/full", "wb") as file:  # noqa: PTH123
        np.zeros(1 << 16).tofile(file)
    assert storage.no_space(caught.value, Path("/dev/full")) is not None


def test_a_refusal_names_the_file_that_was_refused(tmp_path: Path) -> None:
    file = str(tmp_path / "inner")
    with pytest.raises(StorageError, match=f"`{file}` cannot be written"), storage.explained(tmp_path):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), file)


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (41_000, "41k pages/s"),
        (2.46, "2.5 pages/s"),
        (0.97, "1 pages/s"),
        (0.2, "12 pages/min"),
        (0.002283, "8.2 pages/h"),
        (1e-6, "0.0036 pages/h"),
    ],
)
def test_a_slow_rate_is_per_minute_or_hour(per_second: float, text: str) -> None:
    assert formatting.format_rate(per_second, "pages") == text
