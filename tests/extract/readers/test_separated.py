"""separated: CSV and TSV as people write them; a row that does not fit costs only itself."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.formats import find_format
from bessemer.extract.inputs import InputFile
from bessemer.extract.readers.base import Piece
from bessemer.extract.reading import read
from bessemer.extract.records import documents_of, record_table
from bessemer.extract.settings import Fields, ReaderSettings, TextSettings


def records(path: Path, content: bytes | str, limit: int = 1 << 20, **fields: str) -> list[ExtractedRecord]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    size = path.stat().st_size
    piece = Piece(path.name, str(path), find_format(InputFile(path.name, str(path), size)), size, size)
    return list(read(piece, ReaderSettings(max_document_bytes=limit, fields=Fields(**fields))))


def texts(found: list[ExtractedRecord]) -> list[str | None]:
    """The text of each record, or the rule in brackets that removes it."""
    documents, ledger = documents_of(record_table(found), TextSettings(), created=True)
    kept = iter(documents["text"].to_pylist())
    return [next(kept) if rule is None else f"({rule})" for rule in ledger["rule"].to_pylist()]


def test_quoted_fields_hold_delimiters_line_ends_and_quotes(tmp_path: Path) -> None:
    found = records(tmp_path / "a.csv", 'id,text,url\r\n1,"One, ""two""\r\nthree",https://a.test/1\r\n2,four,\r\n')
    assert texts(found) == ['One, "two"\nthree', "four"]
    assert [(record.url, json.loads(record.metadata)) for record in found] == [
        ("https://a.test/1", {"id": "1"}),
        ("file:a.csv#2", {"id": "2"}),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "id\ttext\n1\tone\n2\ttwo, 2\n"),
        ("a.csv", "id;text\n1;one\n2;two, 2\n"),
        ("a.csv", "id|text\n1|one\n2|two, 2\n"),
        ("a.csv", "id\ttext\n1\tone\n2\ttwo, 2\n"),
        ("a.csv", "sep=;\nid;text\n1;one\n2;two, 2\n"),
        ("a.csv", '\ufeff\n"id" , text \n1,one\n\n2,"two, 2"\n'),
        ("a.csv", "id\ttext\n1\tone\n2\ttwo, 2\n".encode("utf-16")),
        ("a.csv.gz", gzip.compress(b"text\none\n'two, 2'\n".replace(b"'", b'"'))),
    ],
)
def test_delimiters_and_encodings_of_spreadsheets(tmp_path: Path, name: str, content: bytes | str) -> None:
    assert texts(records(tmp_path / name, content)) == ["one", "two, 2"]


def test_a_row_in_a_legacy_charset_says_how_to_convert_the_file(tmp_path: Path) -> None:
    """A field is too short to guess its charset from: a wrong guess would be a document of wrong letters."""
    content = 'id,text,place\n1,"Der Hafen für alle, über Jahre.",x\n2,two,Köln\n'.encode("cp1252")
    found = records(tmp_path / "a.csv", content)
    assert texts(found) == ["(undecodable)", "two"]
    assert "`iconv -f CHARSET -t UTF-8`" in str(found[0].evidence)
    assert json.loads(found[1].metadata)["place"] == "K\ufffdln"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("1,one, and more\n2,two\n", ["(malformed_row)", "two"]),
        ('1,"one" x\n2,two\n', ["(malformed_row)", "two"]),
        ('1,"one\n2,two\n3,three\n', ["(malformed_row)", "two", "three"]),
        ('1,"one\n2,"two"\n3,three\n', ["(malformed_row)", "two", "three"]),
        ("1\n2,two\n", ["(missing_text)", "two"]),
        ("1,\n2,two\n", ["(empty_text)", "two"]),
        (f"1,{'x' * 300}\n2,two\n", ["(too_large)", "two"]),
        (f'1,"{"x" * 90}\n{"y" * 90}"\n2,two\n', ["(too_large)", "(missing_text)", "two"]),
    ],
)
def test_a_row_that_does_not_fit_costs_only_itself(tmp_path: Path, rows: str, expected: list[str]) -> None:
    assert texts(records(tmp_path / "a.csv", f"id,text\n{rows}", limit=128)) == expected


def test_a_quote_in_tsv_need_not_be_closed(tmp_path: Path) -> None:
    content = 'id\ttext\n1\t"Harbour" is its name\n2\t"old\n3\tthree\n4\t"a\tb"\n'
    assert texts(records(tmp_path / "a.tsv", content)) == ['"Harbour" is its name', '"old', "three", "a\tb"]


def test_a_table_without_the_column_is_one_failed_file(tmp_path: Path) -> None:
    (lacking,) = records(tmp_path / "a.csv", "id,body\n1,one\n2,two\n")
    assert lacking.rule == "missing_column"
    assert str(lacking.evidence).startswith("no `text` among `id`, `body`; name the text with `fields: {text: ...}`")
    assert texts(records(tmp_path / "a.csv", "id,body\n1,one\n2,two\n", text="body")) == ["one", "two"]


def test_of_two_columns_with_one_name_the_first_counts(tmp_path: Path) -> None:
    assert texts(records(tmp_path / "a.csv", "text,id,text\none,1,two\n")) == ["one"]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).filter(str.strip)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=6), st.sampled_from([",", ";", "\t", "|"]))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_csv_module_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str]], mark: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=mark).writerows([("id", "text"), *rows])
    found = records(tmp_path / "a.csv", file.getvalue())
    assert [record.content for record in found if record.rule != "empty_text"] == [text.encode() for _, text in rows]
