"""WARC files written are read back, by us and by warcio; damaged and foreign ones lose only what is damaged."""

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from bessemer.artifacts import pages, warc
from bessemer.artifacts.pages import Damage, Page, PageWriter, read_page, read_pages
from bessemer.artifacts.warc import WarcRecord, read_records

WHEN = datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC)
PAYLOADS = [b"<p>one</p>", "<p>zwölf\r\n\r\nWARC/1.1 is a word here</p>".encode() * 50, b"\x00\xff" * 30_000, b""]


def write(path: Path, payloads: list[bytes] = PAYLOADS) -> list[tuple[int, int]]:
    headers = [("Content-Type", "text/html; charset=UTF-8"), ("Content-Encoding", "gzip"), ("Content-Length", "7")]
    with PageWriter(path, software="test", user_agent="test (+https://example.com)") as writer:
        return [
            writer.write(f"http://a.test/{n}", 200, "OK", headers, payload, WHEN) for n, payload in enumerate(payloads)
        ]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    places = write(path)
    found = list(read_pages(path))
    assert [page.payload for page in found if isinstance(page, Page)] == PAYLOADS
    first = found[0]
    assert isinstance(first, Page)
    assert (first.url, first.status, first.kind) == ("http://a.test/0", 200, "response")
    assert (first.content_type, first.charset, first.fetched_at) == ("text/html", "utf-8", WHEN)
    assert first.headers["x-crawler-content-encoding"] == "gzip"
    assert [(page.offset) for page in found] == [offset for offset, _ in places]
    assert [read_page(path, *place) for place in places] == found


def test_equal_pages_are_equal_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.warc.gz")
    write(tmp_path / "b.warc.gz")
    assert (tmp_path / "a.warc.gz").read_bytes() == (tmp_path / "b.warc.gz").read_bytes()


def test_warcio_reads_what_is_written_and_agrees_with_the_digests(tmp_path: Path) -> None:
    write(tmp_path / "a.warc.gz")
    with (tmp_path / "a.warc.gz").open("rb") as file:
        read = []
        for record in ArchiveIterator(file, check_digests="raise"):
            payload = record.content_stream().read()
            if record.rec_type == "response":
                read.append(payload)
    assert read == PAYLOADS


def test_headers_cannot_break_out_of_their_line(tmp_path: Path) -> None:
    with PageWriter(tmp_path / "a.warc.gz", software="x", user_agent="y") as writer:
        writer.write("http://a.test/", 200, "OK\r\nX: 1", [("a", "b\r\n\r\nWARC/1.0")], b"payload", WHEN)
    (page,) = read_pages(tmp_path / "a.warc.gz")
    assert isinstance(page, Page)
    assert page.payload == b"payload"
    assert set(page.headers) == {"a", "content-length"}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_file_cut_anywhere_keeps_every_whole_record(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    places = write(folder / "a.warc.gz")
    content = (folder / "a.warc.gz").read_bytes()
    length = data.draw(st.integers(1, len(content) - 1))
    (folder / "cut.warc.gz").write_bytes(content[:length])
    found = list(read_pages(folder / "cut.warc.gz"))
    read = [page.payload for page in found if isinstance(page, Page)]
    assert len(read) >= sum(offset + size <= length for offset, size in places)
    assert read == PAYLOADS[: len(read)]
    at_a_boundary = length in {offset for offset, _ in places}
    assert len([item for item in found if isinstance(item, Damage)]) == (0 if at_a_boundary else 1)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10**6), noise=st.binary(min_size=1, max_size=40), compressed=st.booleans())
def test_damage_in_one_record_spares_the_others(
    at: int, noise: bytes, compressed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Overwriting some bytes never raises and, where they lie in one gzip member, costs at most that page."""
    folder = tmp_path_factory.mktemp("noise")
    places = write(folder / "a.warc.gz")
    content = bytearray((folder / "a.warc.gz").read_bytes())
    if not compressed:
        content = bytearray(gzip.decompress(content))
    at %= len(content) - len(noise)
    content[at : at + len(noise)] = noise
    (folder / "b.warc").write_bytes(content)
    read = {page.payload for page in read_pages(folder / "b.warc") if isinstance(page, Page)}
    if compressed:
        hit = [offset <= at + len(noise) and at < offset + size for offset, size in places]
        assert read >= {payload for payload, broken in zip(PAYLOADS, hit, strict=True) if not broken}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (gzip.compress(b""), "an empty file, compressed"),
        (b"%PDF-1.4 \n something \n else" * 9000, "does not begin with a WARC or ARC record"),
        (b"x" * 3_000_000, "does not begin with a WARC or ARC record"),
        (gzip.compress(b"{}\n" * 100_000), "does not begin with a WARC or ARC record"),
        (gzip.compress(b"{}\n" * 100)[:40], "does not begin with a WARC or ARC record"),
        (gzip.compress(b"{}\n" * 100)[:12], "gzip member that is cut off"),
        (b"PK\x03\x04" + bytes(100), "zip archive"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "zstd"),
    ],
)
def test_a_file_of_something_else_is_one_damage(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a").write_bytes(content)
    damages = [item for item in read_pages(tmp_path / "a") if isinstance(item, Damage)]
    assert reason in damages[0].reason
    assert len(damages) == len(list(read_pages(tmp_path / "a"))) <= 2


def record(body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = f"WARC/1.0\r\nWARC-Type: resource\r\nWARC-Target-URI: urn:x\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


@pytest.mark.parametrize("wrong", [3, 20, 60, 100_000_000])
def test_a_wrong_length_costs_one_record(tmp_path: Path, wrong: int) -> None:
    (tmp_path / "a.warc").write_bytes(
        record(b"first record") + record(b"second record", wrong) + record(b"third record")
    )
    found = list(read_pages(tmp_path / "a.warc"))
    assert [page.payload for page in found if isinstance(page, Page)] in (
        [b"first record", b"third record"],
        [b"first record"],  # beyond the limit on a record the rest is skipped unseen, and said
    )
    assert any(isinstance(item, Damage) for item in found)


def test_a_record_over_the_limit_is_skipped_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(record(b"x" * 2_000_000) + record(b"x" * 2000) + record(b"small"))
    damage, large, small = read_pages(tmp_path / "a.warc", max_payload_bytes=1000)
    assert isinstance(damage, Damage)
    assert isinstance(large, Damage)
    assert "2000000" not in large.reason
    assert damage.url == large.url == "urn:x"
    assert isinstance(small, Page)


@pytest.mark.parametrize(
    ("head", "body", "media_type", "charset"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html charset=gbk", b"<p>x", "text/html", "gbk"),
        (b"http/1.1  200\nContent-Type: html", b"<p>x", "text/html", None),
        (b'ICY 200 OK\r\nContent-Type : "text/html"', b"<p>x", "text/html", None),
        (b"HTTP/2 200\r\ncontent-encoding: ISO-8859-1\r\ncontent-type: text/html", b"<p>x", "text/html", None),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br", b"<p>x</p>", "text/html", None),
        (b"HTTP/1.1 200 OK", b"plain words", "text/plain", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2", b"<p>x", "text/html", None),
    ],
)
def test_responses_of_careless_servers_are_read(
    tmp_path: Path, head: bytes, body: bytes, media_type: str, charset: str | None
) -> None:
    block = head + b"\r\n\r\n" + body
    record = b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.test/\r\nContent-Length: %d\r\n\r\n"
    (tmp_path / "a.warc").write_bytes(record % len(block) + block + b"\r\n\r\n")
    (page,) = read_pages(tmp_path / "a.warc")
    assert isinstance(page, Page), page
    assert (page.status, page.content_type, page.charset, page.payload) == (200, media_type, charset, body)


def test_a_stored_page_is_read_back_if_it_looks_compressed(tmp_path: Path) -> None:
    """A payload with the beginning of a gzip stream is stored as it is, and stays a page."""
    payload = gzip.compress(bytes(100_000))[:100]
    with PageWriter(tmp_path / "a.warc.gz", software="x", user_agent="y") as writer:
        place = writer.write("http://a.test/", 200, "OK", [("Content-Type", "text/html")], payload, WHEN)
    assert read_page(tmp_path / "a.warc.gz", *place).payload == payload


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2008-04-30T20:48:25Z", datetime(2008, 4, 30, 20, 48, 25, tzinfo=UTC)),
        ("2008-04-30T20:48:25.125Z", datetime(2008, 4, 30, 20, 48, 25, 125_000, tzinfo=UTC)),
        ("20080430204825", datetime(2008, 4, 30, 20, 48, 25, tzinfo=UTC)),
        ("2008-04", datetime(2008, 4, 1, tzinfo=UTC)),
        ("2008-13-77", None),
        ("null", None),
    ],
)
def test_dates_of_warc_and_arc(text: str, date: datetime | None) -> None:
    assert pages._parse_date(text) == date


# Where the records counted by a plain text search (INDEX.tsv) are not the records that can be read.
DAMAGED = {
    "aut/badexample.arc.gz": "header lines count, three of four lengths are wrong",
    "chatnoir-resiliparse/clipped.warc.gz": "cut in its only record",
    "jwat/invalid-warcfile-fields-empty.warc": "no length",
    "jwat/invalid-warcfile-fields-invalidformat.warc": "a length that is not a number",
    "jwat/invalid-warcfile-lonely-continuation.warc": "no length",
    "jwat/invalid-warcfile-lonely-monkeys.warc": "no length",
    "jwat/invalid-warcfile-lonely-request-response-resource-conversion.warc": "no length",
    "jwat/invalid-warcfile-lonely-warcinfo-metadata.warc": "no length",
    "jwat/test-arc-1.0-dashed-fields.arc": "longer than it says",
    "jwat/valid-warcfile-upper-lower-case.warc": "the count is case-sensitive, WARC is not",
    "pywb/example.warc": "a request with a wrong length",
    "warcio/example-space-in-url.arc": "line ends were converted, so the record is cut off",
}


def test_every_record_of_the_public_test_archives(dataset) -> None:
    """On other libraries' test files, the counts equal the index, and damage is reported for damaged files only."""
    root = dataset("warc")
    seen = 0
    for row in csv.DictReader((root / "INDEX.tsv").read_text().splitlines(), delimiter="\t"):
        path = root / row["file"]
        if not path.exists():
            continue
        items = list(read_records(path))
        records = [item for item in items if isinstance(item, WarcRecord)]
        warc_records, arc_records = int(row["warc_records"]), int(row["arc_records"])
        if row["file"] in DAMAGED:
            assert len(items) > len(records) or len(records) > warc_records, path
        elif warc_records:
            seen += len(records)
            assert len(records) == warc_records, path
        elif arc_records:  # the index misses ARC documents of unusual types, and counts no `dns:` ones
            seen += len(records)
            assert sum(record.url.startswith("http") for record in records) >= arc_records, path
        else:
            assert len(items) == 1 or path.name == "invalid-entries.gz", path
            assert not records, path
        if warc_records + arc_records and row["file"] not in DAMAGED and "garbage" not in path.name:
            assert len(items) == len(records), path
    assert seen > 2300


def test_the_same_pages_from_arc_and_warc(dataset) -> None:
    """Heritrix wrote one crawl in both formats."""
    root = dataset("warc") / "jwat"
    read = [
        [(page.url, page.status, page.payload_digest, page.fetched_at) for page in read_pages(root / name)]  # type: ignore[union-attr]
        for name in ("IAH-20080430204825-00000-blackbook.arc.gz", "IAH-20080430204825-00000-blackbook.warc.gz")
    ]
    assert len(read[0]) == 261
    assert sorted(read[0]) == sorted(read[1])


def test_chunked_and_compressed_responses_of_real_archives(dataset) -> None:
    root = dataset("warc")
    for name in ("brotli", "gzip", "none"):
        page = next(iter(read_pages(root / f"webarchive-discovery/transfer_compression_{name}.warc")))
        assert isinstance(page, Page)
        assert page.payload.startswith(b"<html>")
    page = next(iter(read_pages(root / "warcio/example-wrong-chunks.warc.gz")))
    assert isinstance(page, Page)
    assert len(page.payload) == 1270
    assert warc.target_url({"warc-target-uri": "<http://x.test/>"}) == "http://x.test/"
