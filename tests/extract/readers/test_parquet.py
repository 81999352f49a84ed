"""parquet: only the columns that are used decide, and a value without a Python type costs neither row nor file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.readers.base import Piece
from bessemer.extract.readers.columns import python_values
from bessemer.extract.reading import read, read_rows
from bessemer.extract.records import documents_of, record_table
from bessemer.extract.settings import Fields, FileSettings, ReaderSettings, TextSettings

TEXTS = ["one", "two", "three"]


def piece(path: Path) -> Piece:
    return Piece(path.name, str(path), "parquet", path.stat().st_size, path.stat().st_size)


def records(path: Path, columns: dict[str, Any] | pa.Table, **fields: str) -> list[ExtractedRecord]:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return list(read(piece(path), ReaderSettings(fields=Fields(**fields))))


def metadata(found: list[ExtractedRecord], name: str) -> list[Any]:
    assert [record.rule for record in found] == [None] * len(found)
    return [json.loads(record.metadata).get(name) for record in found]


def not_utf8(*values: bytes) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


def test_points_in_time_that_python_cannot_hold(tmp_path: Path) -> None:
    """Python's years end at 9999, its times at microseconds, and its time zones with the system's database."""
    days = pa.array([0, 4_000_000, None], pa.int32()).cast(pa.date32())
    found = records(tmp_path / "a.parquet", {"text": TEXTS, "day": days})
    assert metadata(found, "day") == ["1970-01-01", "12921-08-18", None]
    zone = pa.array([0, 1_700_000_000, None]).cast(pa.timestamp("s", "Mars/Olympus_Mons"))
    found = records(tmp_path / "a.parquet", {"text": TEXTS, "seen": zone})
    assert metadata(found, "seen") == ["1970-01-01 00:00:00Z", "2023-11-14 22:13:20Z", None]
    precise = pa.array([1, 10**9, None]).cast(pa.timestamp("ns"))
    found = records(tmp_path / "a.parquet", {"text": TEXTS, "seen": precise})
    assert metadata(found, "seen") == ["1970-01-01 00:00:00.000000001", "1970-01-01 00:00:01", None]
    assert [record.unconverted for record in found] == [0, 0, 0]


def test_values_that_cannot_be_converted_are_null_and_counted(tmp_path: Path) -> None:
    far = pa.array([2**60, 0, -(2**60)]).cast(pa.timestamp("ms"))
    found = records(tmp_path / "a.parquet", {"text": TEXTS, "seen": far, "note": not_utf8(b"\xff", b"n", b"\xfe")})
    assert metadata(found, "seen") == [None, "1970-01-01 00:00:00", None]
    assert metadata(found, "note") == [None, "n", None]
    assert [record.unconverted for record in found] == [2, 0, 2]
    documents, ledger = documents_of(record_table(found), TextSettings(), created=True)
    assert documents["text"].to_pylist() == TEXTS
    assert ledger["verdict"].to_pylist() == ["kept"] * 3
    assert [row["unconverted_values"] for row in ledger["signals"].to_pylist()] == [2, None, 2]
    assert ledger["evidence"].to_pylist()[0] == "not convertible, now null: seen, note"


def test_of_columns_with_one_name_the_first_counts(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(TEXTS), pa.array([1, 2, 3]), pa.array(["n", "n", "n"])], ["text"] * 3)
    assert [record.content for record in records(tmp_path / "a.parquet", twice)] == [b"one", b"two", b"three"]
    names = pa.Table.from_arrays([pa.array([1, 2, 3]), pa.array(TEXTS), pa.array(TEXTS)], ["n", "text", "n"])
    assert metadata(records(tmp_path / "a.parquet", names), "n") == [1, 2, 3]


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.large_string(), pa.string_view(), pa.binary_view()]
)
def test_a_text_column_of_any_binary_type(tmp_path: Path, kind: pa.DataType) -> None:
    """Writers that do not annotate a column as UTF-8 store text as plain bytes."""
    texts = pa.array([*TEXTS[:2], None]).cast(kind)
    found = records(tmp_path / "a.parquet", {"text": texts, "url": pa.array([b"https://a.test/1", None, None])})
    assert [record.content for record in found] == [b"one", b"two", None]
    assert [record.rule for record in found] == [None, None, "missing_text"]
    assert found[0].url == "https://a.test/1"


def test_a_text_that_is_not_utf8_is_removed_for_it_but_a_few_broken_bytes_are_not(tmp_path: Path) -> None:
    broken = "für den Hafen über Jahre ".encode() * 20 + b"\xff"
    for column in (pa.binary(), pa.string()):
        texts = pa.array(["für".encode("cp1252"), broken, b"three"], pa.binary()).view(column)
        found = records(tmp_path / "a.parquet", {"text": texts})
        assert [record.rule for record in found] == ["undecodable", None, None]
        assert found[1].content == broken.removesuffix(b"\xff") + "\ufffd".encode()


def test_a_damaged_page_of_an_unused_column_costs_only_its_values(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": TEXTS, "note": ["x" * 500, "y" * 500, "z" * 500]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_page_checksum=True, row_group_size=2)
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    end = column.data_page_offset + column.total_compressed_size
    content[end - 8 : end] = bytes(8)
    path.write_bytes(content)
    found = list(read(piece(path), ReaderSettings()))
    assert metadata(found, "note") == [None, None, "z" * 500]
    assert [record.unconverted for record in found] == [1, 1, 0]
    assert [record.rule for record in read(piece(path), ReaderSettings(fields=Fields(text="note")))] == [
        "unreadable_file"
    ]


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (lacking,) = records(tmp_path / "a.parquet", {"body": TEXTS, "n": [1, 2, 3]})
    assert (lacking.rule, lacking.url) == ("missing_column", "file:a.parquet")
    assert str(lacking.evidence).startswith("no `text` among `body`, `n`; name the text with `fields:")
    (number,) = records(tmp_path / "a.parquet", {"text": [1, 2, 3]})
    assert (number.rule, number.evidence) == ("missing_column", "`text` is a int64, not a text")
    import gzip

    (tmp_path / "b.parquet").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    (packed,) = read(piece(tmp_path / "b.parquet"), ReaderSettings())
    assert (packed.rule, "decompress it first" in str(packed.evidence)) == ("unreadable_file", True)


def test_rows_keep_nested_values_beside_a_value_that_is_lost(tmp_path: Path) -> None:
    """The rows of conversations and preferences: a point in time inside a message does not cost the message."""
    sent = pa.array([2**60, 0, 0]).cast(pa.timestamp("ms", "UTC"))
    said = pa.StructArray.from_arrays(
        [pa.array(["user", "assistant", "user"]), pa.array(TEXTS), sent], ["role", "content", "sent"]
    )
    messages = pa.ListArray.from_arrays(pa.array([0, 2, 3]), said)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"messages": messages, "n": [1, 2]}), path)
    first, second = read_rows(piece(path), FileSettings())
    assert first.content is not None
    assert json.loads(first.content) == {
        "messages": [
            {"role": "user", "content": "one", "sent": None},
            {"role": "assistant", "content": "two", "sent": "1970-01-01 00:00:00Z"},
        ],
        "n": 1,
    }
    assert (first.unconverted, first.evidence) == (1, "not convertible, now null: messages")
    assert second.unconverted == 0


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1, None], None, []]),
        pa.array([[1, 2], None], pa.list_(pa.int64(), 2)),
        pa.array([{"a": 1, "b": ["x"]}, None]),
        pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        pa.array(["a", None, "a"]).dictionary_encode(),
        pa.array([True, None]),
        pa.array([1.5, None]),
        pa.array([None, None]),
        pa.array([{"a": None}, {"a": {"b": [None, {"c": 1}]}}]),
    ],
    ids=lambda array: str(array.type),
)
def test_nested_columns_are_what_pyarrow_makes_of_them(values: pa.Array) -> None:
    assert python_values(values) == (values.to_pylist(), [])
    assert python_values(values.slice(1)) == (values.slice(1).to_pylist(), [])


def test_nested_values_that_are_lost_are_counted_by_row() -> None:
    texts = pa.StructArray.from_arrays([not_utf8(b"\xff", b"a", b"\xfe", b"\xfd")], ["t"])
    lists = pa.ListArray.from_arrays(pa.array([0, 0, 1, 3, 4]), texts)
    assert python_values(lists) == ([[], [{"t": None}], [{"t": "a"}, {"t": None}], [{"t": None}]], [1, 2, 3])
    assert python_values(lists.slice(2)) == ([[{"t": "a"}, {"t": None}], [{"t": None}]], [0, 1])
    when = pa.array([datetime(2026, 1, 31, 12, tzinfo=UTC)])
    assert python_values(when) == (["2026-01-31 12:00:00Z"], [])
