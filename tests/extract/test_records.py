"""records: every record becomes a document or a verdict, independently of the others."""

from __future__ import annotations

import json

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.artifacts.ledger import Counts
from bessemer.extract import records as module
from bessemer.extract.extracted_record import ExtractedRecord
from bessemer.extract.records import SIGNALS, documents_of, record_table, record_tables
from bessemer.extract.settings import SplitFractions, TextSettings

SENTENCE = "This sentence belongs to the page and is long enough to be found by the extractor. "
PAGE = f"<html lang=fr><body><article><h1>One</h1><p>{SENTENCE * 5}</p></article></body></html>".encode()


def rules(*records: ExtractedRecord, settings: TextSettings | None = None) -> list[str | None]:
    _, ledger = documents_of(record_table(list(records)), settings or TextSettings(), created=True)
    return ledger["rule"].to_pylist()  # type: ignore[no-any-return]


def test_a_page_becomes_a_document_with_its_provenance() -> None:
    record = ExtractedRecord("1", "https://a.test/x", "a.test", PAGE, media_type="text/html", status=200, language=None)
    documents, ledger = documents_of(
        record_table([record]), TextSettings(license="CC0-1.0", split=SplitFractions(test=0.9)), created=False
    )
    (document,) = documents.to_pylist()
    assert document["text"] == "One\n\n" + (SENTENCE * 5).strip()
    assert (document["id"], document["url"], document["source"], document["license"]) == (
        "1",
        "https://a.test/x",
        "a.test",
        "CC0-1.0",
    )
    assert document["language"] is None, "what a page declares is a hint, not knowledge"
    assert json.loads(document["metadata"]) == {"language": "fr", "sitename": "a.test", "title": "One"}
    (row,) = ledger.to_pylist()
    assert (row["verdict"], row["created"]) == ("kept", False)
    assert row["signals"] == {
        "content_bytes": len(PAGE),
        "html_nodes": 5,
        "text_characters": len(document["text"]),
        "unconverted_values": None,
    }


def test_what_a_reader_or_a_server_refused_is_removed_for_that() -> None:
    found = rules(
        ExtractedRecord("1", "u", "s", rule="damaged_record", evidence="cut"),
        ExtractedRecord("2", "u", "s", PAGE, media_type="text/html", status=404),
        ExtractedRecord("3", "u", "s", PAGE, media_type="text/html", status=301),
        ExtractedRecord("4", "https://a.test/robots.txt", "s", b"User-agent: *", media_type="text/plain", status=200),
        ExtractedRecord("5", "u", "s", b"text", kind="text"),
        ExtractedRecord("6", "u", "s", "\ud800 and more".encode("utf-8", "surrogatepass"), kind="unicode"),
    )
    assert found == ["damaged_record", "http_status", "http_status", "robots_txt", None, None]


def test_tables_are_bounded_in_bytes_and_rows() -> None:
    big = [ExtractedRecord(str(number), "u", "s", b"x" * (3 << 20)) for number in range(5)]
    assert [len(table) for table in record_tables(big)] == [3, 2]
    small = [ExtractedRecord(str(number), "u", "s", b"") for number in range(module.BATCH_RECORDS + 1)]
    assert [len(table) for table in record_tables(small)] == [module.BATCH_RECORDS, 1]


CONTENTS = st.one_of(
    st.binary(max_size=60), st.sampled_from([PAGE, PAGE[:-40], b"<p>", b"plain text", "ä".encode("cp1252"), b""])
)
RECORDS = st.lists(
    st.builds(
        ExtractedRecord,
        id=st.uuids().map(lambda u: u.hex),
        url=st.sampled_from(["https://a.test/x", "file:a#1", ""]),
        source=st.just("s"),
        content=CONTENTS,
        kind=st.sampled_from(["page", "text"]),
        media_type=st.sampled_from(["text/html", "text/plain", "", "image/png"]),
        charset=st.sampled_from([None, "latin-1"]),
        status=st.sampled_from([None, 200, 404]),
        rule=st.sampled_from([None, None, None, "too_large"]),
    ),
    min_size=1,
    max_size=6,
)


@given(RECORDS)
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_and_batching_changes_nothing(records: list[ExtractedRecord]) -> None:
    """In + created = out + removed, and a batch gives what its rows give one at a time."""
    table = record_table(records)
    documents, ledger = documents_of(table, TextSettings(), created=True)
    counts = Counts.of(documents, ledger)
    assert counts.created == len(records) == len(ledger)
    assert ledger.schema.field("signals").type == pa.struct([(name, pa.float64()) for name in SIGNALS])
    singles = [documents_of(table.slice(row, 1), TextSettings(), created=True) for row in range(len(table))]
    assert pa.concat_tables([single[0] for single in singles]).equals(documents)
    assert pa.concat_tables([single[1] for single in singles]).equals(ledger)
