"""formats: the reader of a file, by its name, and by its content if the name is ambiguous."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.errors import InputError
from bessemer.extract.formats import check_formats, find_format
from bessemer.extract.inputs import InputFile

ROWS = [{"text": "one"}, {"text": "two"}]
LINES = "".join(f"{json.dumps(row)}\n" for row in ROWS)


def found(path: Path, content: bytes | str = b"") -> str | None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return find_format(InputFile(path.name, str(path), path.stat().st_size))


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.html.gz", "html"),
        ("A.TXT", "text"),
        ("a.csv.zst", "csv"),
        ("a.tsv", "tsv"),
        ("a.pq", "parquet"),
        ("a.warc.gz", "warc"),
        ("a.jsonl.bz2", "jsonl"),
        ("a.docx", None),
        ("a.tar.gz", None),
        ("LICENSE", None),
    ],
)
def test_a_name_says_the_format(tmp_path: Path, name: str, format: str | None) -> None:
    assert found(tmp_path / name, "x") == format


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (LINES, "jsonl"),
        (f"\ufeff\n{LINES}", "jsonl"),
        (json.dumps(ROWS), "json"),
        (json.dumps(ROWS, indent=2), "json"),
        (json.dumps(ROWS[0], indent=2), "json"),
        (json.dumps(ROWS[0]), "jsonl"),
        ("".join(json.dumps(row, indent=2) for row in ROWS), "json"),
        (f'{{"text": "cut off\n{LINES}', "jsonl"),
        ("", "json"),
        (json.dumps(ROWS).encode("utf-16"), "json"),
        (LINES.encode("utf-16"), "jsonl"),
    ],
)
def test_json_is_read_by_lines_if_it_has_lines(tmp_path: Path, content: bytes | str, format: str) -> None:
    """A damaged first line does not turn a file of lines into one value."""
    assert found(tmp_path / "a.json", content) == format
    packed = content if isinstance(content, bytes) else content.encode()
    assert found(tmp_path / "a.json.gz", gzip.compress(packed)) == format


def test_an_array_is_read_as_one_although_it_is_called_json_lines(tmp_path: Path) -> None:
    assert found(tmp_path / "a.jsonl", json.dumps(ROWS, indent=1)) == "json"


def test_a_file_without_a_suffix_is_recognised_by_its_beginning(tmp_path: Path) -> None:
    assert found(tmp_path / "part-00000", LINES) == "jsonl"
    assert found(tmp_path / "dump.gz", gzip.compress(json.dumps(ROWS).encode())) == "json"
    assert found(tmp_path / "crawl", b"WARC/1.0\r\n") == "warc"
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "0000")
    assert find_format(InputFile("0000", str(tmp_path / "0000"), 1)) == "parquet"
    assert found(tmp_path / "README", "A text about {}.") is None
    assert found(tmp_path / "Makefile.gz", gzip.compress(b"all:\n\tcc\n")) is None
    assert found(tmp_path / "broken.gz", gzip.compress(LINES.encode())[:12]) is None


def test_files_that_nothing_reads_are_an_error_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "book.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "a.txt").write_bytes(b"text")
    files = [InputFile(name, str(tmp_path / name), 8) for name in ("book.pdf", "a.txt")]
    with pytest.raises(InputError, match=r"for example `book\.pdf`") as error:
        check_formats(files[:1], None)
    assert "convert it to HTML, Markdown or plain text" in error.value.hint
    check_formats(files, None)
    check_formats(files[:1], "text")
