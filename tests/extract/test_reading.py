"""readers: from files to records; nothing in a file stops them, and nothing in it is lost without a record."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bessemer.artifacts.ledger import Counts
from bessemer.errors import InputChanged, InputError
from bessemer.extract.cut import cut_into_units
from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.formats import find_format
from bessemer.extract.inputs import InputFile
from bessemer.extract.readers.base import Piece
from bessemer.extract.readers.lines import split_lines
from bessemer.extract.reading import read
from bessemer.extract.records import documents_of, record_tables
from bessemer.extract.settings import Fields, ReaderSettings, TextSettings
from bessemer.extract.streams import is_seekable_utf8
from bessemer.hashes import state

FORMATS = ("html", "text", "jsonl", "json", "csv", "tsv", "parquet", "warc", None)


def piece(path: Path, format: Any = "auto", **values: Any) -> Piece:
    size = path.stat().st_size
    found = find_format(InputFile(path.name, str(path), size)) if format == "auto" else format
    return Piece(path.name, str(path), found, size, size, state=state(path.stat()), **values)


def records(path: Path, format: Any = "auto", **changes: Any) -> list[ExtractedRecord]:
    return list(read(piece(path, format), ReaderSettings(**changes)))


def lines(*values: Any) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def compress_zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def test_json_lines_with_their_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf"
        + lines({"body": "one", "url": "https://a.test/1", "language": "de-AT", "title": "T", "n": 3, "nested": [1]})
        + b"\r\n"
        + lines({"body": "two \ud83d\ude00 \ud800"})
    )
    first, second = records(path, fields=Fields(text="body"))
    assert (first.url, first.content, first.language, first.source) == ("https://a.test/1", b"one", "de", "a")
    assert json.loads(first.metadata) == {"title": "T", "n": 3}
    assert second.url == "file:a.jsonl#3", "an empty line counts, but is no record"
    documents, _ = documents_of(next(record_tables([second])), TextSettings(), created=True)
    assert documents["text"].to_pylist() == ["two 😀 \ufffd"]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"text": "cut', "malformed_json"),
        (b"[1, 2]", "malformed_json"),
        (b'{"text": 5}', "missing_text"),
        (b'{"other": "x"}', "missing_text"),
        (b"\xff\xfe", "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b'{"text": "' + b"x" * 200 + b'"}', "too_large"),
    ],
)
def test_a_bad_line_is_one_removed_record_and_the_rest_goes_on(tmp_path: Path, line: bytes, rule: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines({"text": "before"}) + line + b"\n" + lines({"text": "after"}))
    found = records(path, max_document_bytes=150 if rule == "too_large" else 1 << 20)
    assert [record.rule for record in found] == [None, rule, None]
    assert found[1].url == "file:a.jsonl#2"
    if rule != "too_large":
        assert found[1].evidence is not None
        assert found[1].evidence.startswith("line 2: ")


def test_an_unused_field_that_python_refuses_costs_no_document(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"text": "one", "n": '
        + b"9" * 5000
        + b', "m": -17}\n{"text": "two\tand\x0cthree", "n": '
        + b"8" * 100
        + b"}\n"
    )
    first, second = records(path)
    assert (first.rule, first.content, json.loads(first.metadata)) == (None, b"one", {"m": -17})
    assert (second.rule, second.content, json.loads(second.metadata)) == (None, b"two\tand\x0cthree", {})


def test_a_source_that_the_recipe_names_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines({"text": "x", "source": "theirs", "license": "MIT"}))
    (named,) = records(path)
    (renamed,) = records(path, source="ours")
    assert (named.source, named.license, renamed.source) == ("theirs", "MIT", "ours")
    assert named.id != renamed.id


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", compress_zstd)],
)
def test_compressed_files_and_what_is_left_of_cut_ones(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    content = lines(*({"text": f"{number} " + "abc" * (number % 7)} for number in range(2000)))
    whole = tmp_path / f"a.jsonl{suffix}"
    whole.write_bytes(compress(content))
    assert [record.rule for record in records(whole)] == [None] * 2000
    cut = tmp_path / f"b.jsonl{suffix}"
    cut.write_bytes(compress(content)[:-200])
    found = records(cut)
    assert found[-1].rule == "unreadable_file"
    assert all(record.rule is None for record in found[:-2])
    text = tmp_path / f"c.txt{suffix}"
    text.write_bytes(compress(b"a text")[:-3])
    assert [record.rule for record in records(text)] == ["unreadable_file"]


def test_a_hundred_megabytes_on_one_line_are_not_held(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(lines({"text": "before"}) + b'{"text": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + lines({"text": "after"}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = records(path, max_document_bytes=1 << 20)
    assert [record.rule for record in found] == [None, "too_large", None]
    assert found[1].value == 100 * (1 << 20) + 13
    (text,) = records(path, "text", max_document_bytes=1 << 20)
    assert (text.rule, text.value) == ("too_large", path.stat().st_size)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10


def test_parquet_rows_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": ["one", None, "x" * 99], "license": ["MIT", None, "MIT"], "deep": [[1], [2], [3]]})
    pq.write_table(table, path, row_group_size=2)
    found = records(path, max_document_bytes=50)
    assert [(record.url, record.rule) for record in found] == [
        ("file:a.parquet#1", None),
        ("file:a.parquet#2", "missing_text"),
        ("file:a.parquet#3", "too_large"),
    ]
    assert (found[0].content, found[0].license, found[0].metadata) == (b"one", "MIT", "{}")
    (lacking,) = records(path, fields=Fields(text="body"))
    assert lacking.rule == "missing_column"
    assert lacking.evidence is not None
    assert lacking.evidence.startswith("no `body` among `text`, `license`, `deep`; name the text with `fields:")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert [record.rule for record in records(path)] == ["unreadable_file"]


def test_files_that_are_one_document(tmp_path: Path) -> None:
    for name, kind in (("a.md", "text"), ("a.HTML", "page"), ("a.txt", "text")):
        (tmp_path / name).write_text("# text")
        (record,) = records(tmp_path / name)
        assert (record.kind, record.content, record.url) == (kind, b"# text", f"file:{name}")
    (tmp_path / "a.docx").write_bytes(b"PK")
    (tmp_path / "README").write_bytes(b"text")
    found = [record for name in ("a.docx", "README") for record in records(tmp_path / name)]
    assert [record.rule for record in found] == ["unsupported_format"] * 2
    assert [str(record.evidence).partition(":")[0] for record in found] == [".docx", "a name without a suffix"]
    assert "convert it to HTML" in str(found[0].evidence)


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.tsv", "a.parquet", "a.warc", "a.txt", "a.html"]
)
def test_an_empty_file_has_a_verdict_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    else:
        path.write_bytes(gzip.compress(b"") if name.endswith(".gz") else b"")
    _, ledger = documents_of(next(record_tables(records(path))), TextSettings(), created=True)
    assert ledger["rule"].to_pylist() in (["empty_text"], ["unreadable_file"])


def test_a_file_that_changes_under_the_reader_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("as it was")
    before = piece(path)
    path.write_text("as it is now")
    with pytest.raises(InputError, match="changed while it was read"):
        list(read(before, ReaderSettings()))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a.html", "a.jsonl.gz"])
@pytest.mark.parametrize("when", ["before", "meanwhile", "restored"])
def test_a_file_with_other_content_of_the_same_size_is_an_error(tmp_path: Path, name: str, when: str) -> None:
    """Also if the hashed content is back before the file is read to its end."""
    path = tmp_path / name
    content = b"text\n" + b"one\n" * 50 if name.endswith(("csv", "tsv", "txt")) else b'{"text": "one"}\n' * 50
    if name == "a.json":
        content = b"[" + b'{"text": "one"},' * 50 + b'{"text": "one"}]'
    content = gzip.compress(content) if name.endswith(".gz") else content
    path.write_bytes(content)
    before = piece(path)
    time.sleep(0.02)  # longer than the steps of the file system's clock

    def change() -> None:
        times = path.stat()
        path.write_bytes(content[::-1])
        if when == "restored":
            path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def consume() -> None:
        if when == "before":
            change()
        for number, _ in enumerate(read(before, ReaderSettings())):
            if number == 0 and when != "before":
                change()

    with pytest.raises(InputChanged, match="changed while it was read"):
        consume()


def test_real_archives_of_every_crawler(dataset: Callable[[str], Path]) -> None:
    """WARC, ARC and WET files, some broken: each position in a file is one record with a unique id."""
    found: list[ExtractedRecord] = []
    for path in sorted(dataset("warc").rglob("*")):
        if find_format(InputFile(path.name, str(path), 0)) == "warc" and path.stat().st_size < 300_000:
            found += records(path)
    assert len({record.id for record in found}) == len(found) > 300
    assert {record.rule for record in found} == {None, "damaged_record", "empty_text", "unreadable_file"}
    wet = records(dataset("warc") / "whirlwind-python" / "whirlwind.warc.wet")
    assert [(r.media_type, r.rule) for r in wet] == [("text/plain", None)]


def test_a_textbook_is_read_whole(dataset: Callable[[str], Path]) -> None:
    found = records(dataset("text_en_openstax") / "openstax.jsonl")
    assert len(found) == 538
    assert {record.license for record in found} == {"CC-BY-4.0"}
    assert not any(record.rule for record in found)


@given(
    st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=30),
    st.booleans(),
    st.integers(8, 120),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_read_in_ranges_is_the_file_read_at_once(
    tmp_path: Path, parts: list[bytes], ended: bool, target: int
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(parts) + (b"\n" if ended else b""))
    assume(is_seekable_utf8(path))
    ranges = split_lines(path, target) or [(0, 0, 1)]
    assert [start for start, _, _ in ranges] == [0, *(end for _, end, _ in ranges[:-1])]
    assert ranges[-1][1] == path.stat().st_size
    pieces = [piece(path, start=start, end=end, first_record=first) for start, end, first in ranges]
    in_ranges = [record for part in pieces for record in read(part, ReaderSettings())]
    assert in_ranges == [record for record in records(path) if record.rule != "empty_text"]


@given(st.lists(st.text(max_size=20), max_size=40), st.integers(1, 10))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parquet_read_in_ranges_is_the_file_read_at_once(tmp_path: Path, texts: list[str], rows: int) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path, row_group_size=rows)
    units = cut_into_units([InputFile("a.parquet", str(path), path.stat().st_size)], unit_bytes=64)
    in_ranges = [record for unit in units for part in unit for record in read(part, ReaderSettings())]
    assert in_ranges == records(path)
    assert [record.content for record in in_ranges] == ([text.encode() for text in texts] or [None])


def law(found: Iterable[ExtractedRecord]) -> tuple[int, list[str]]:
    """The number of records and the ids of those that became documents; In + created = out + removed on the way."""
    ids: list[str] = []
    number = 0
    for table in record_tables(found):
        documents, ledger = documents_of(table, TextSettings(), created=True)
        counts = Counts.of(documents, ledger)
        assert counts.created + counts.files_failed == len(table)
        ids += documents["id"].to_pylist()
        number += len(table)
    return number, ids


@given(st.binary(max_size=400), st.sampled_from(FORMATS), st.sampled_from(["a", "a.gz", "a.zst", "a.bz2"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_any_format_are_accounted_for(tmp_path: Path, content: bytes, format: Any, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = records(path, format, max_document_bytes=256)
    assert len({record.id for record in found}) == len(found)
    number, ids = law(found)
    assert number == len(found)
    assert len(set(ids)) == len(ids)


def test_fuzz_corpora_are_accounted_for_in_every_format(dataset: Callable[[str], Path]) -> None:
    folder = dataset("bad_inputs")
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size < 20_000][::9]
    assert len(paths) > 150
    for path in paths:
        for format in FORMATS:
            law(records(path, format))
