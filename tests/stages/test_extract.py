"""extract as a stage: one verdict per page, ids from the origin, and the same bytes after any interruption."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.artifacts.documents import write_parquet
from bessemer.artifacts.pages import INDEX, PageWriter, payload_digest
from bessemer.artifacts.store import Artifact
from bessemer.fingerprint import fingerprint, origin_id
from bessemer.stages import extract

TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SENTENCE = "Page {} says something of its own, and says it in a sentence that is long enough. "


def page(number: int) -> bytes:
    body = f"<nav><a href=/>home</a></nav><main><h1>Page {number}</h1><p>{SENTENCE.format(number) * 4}</p></main>"
    return f"<html lang=en><head><title>Page {number} - Site</title></head><body>{body}</body></html>".encode()


@pytest.fixture
def pages(make_artifact: Callable[..., Any]) -> Artifact:
    """Two files: ten good pages, a copy of one, a missing page, an image, an empty page, and one without HTML."""
    fetched = [(f"https://a.test/{n}", 200, "text/html; charset=utf-8", page(n)) for n in range(10)]
    fetched += [
        ("https://a.test/3", 200, "text/html", page(3)),
        ("https://a.test/gone", 404, "text/html", page(99)),
        ("https://b.test/logo", 200, "image/png", b"\x89PNG..."),
        ("https://b.test/empty", 200, "text/html", b""),
        ("https://b.test/words", 200, "text/html", b"only words"),
        ("https://b.test/notes.txt", 200, "text/plain", b"a note\r\n"),
    ]
    return write(make_artifact, fetched)


def write(make_artifact: Callable[..., Any], fetched: list[tuple[str, int, str, bytes]]) -> Artifact:
    """Pages of (URL, status, media type, bytes) in two files with their index."""
    draft, seal = make_artifact("pages")
    rows = []
    for name, part in (("00000.warc.gz", fetched[:8]), ("00001.warc.gz", fetched[8:])):
        with PageWriter(draft.data / name, software="test", user_agent="test") as writer:
            for url, status, kind, payload in part:
                offset, length = writer.write(url, status, "", [("Content-Type", kind)], payload, TIME)
                digest = payload_digest(payload)
                values = (url, status, kind, digest, len(payload), TIME, 0, name, offset, length)
                rows.append(dict(zip(INDEX.names, values, strict=True)))
    write_parquet(pa.Table.from_pylist(rows, schema=INDEX), draft.data / "index.parquet")
    sealed: Artifact = seal()
    return sealed


def run(pages: Artifact, make_artifact: Any, context: Any, name: str = "extract", **settings: Any) -> Any:
    draft, _ = make_artifact("documents", name)
    extract.run(extract.Config(**settings), {"pages": pages}, draft, context)
    return draft


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_every_page_has_a_verdict(pages: Artifact, make_artifact: Any, make_context: Any) -> None:
    draft = run(pages, make_artifact, make_context())
    ledger = {row["id"]: row for row in rows(draft.ledger)}
    assert len(ledger) == draft.counts.documents_in == 16
    assert draft.counts.documents_out == 11
    assert draft.counts.removed_by_rule == {
        "duplicate_record": 1,
        "empty_text": 1,
        "http_status": 1,
        "not_html": 1,
        "unsupported_content_type": 1,
    }
    assert draft.metrics["data/documents_out"] == 11
    document = next(row for row in rows(draft.data) if row["url"] == "https://a.test/3")
    assert document["id"] == origin_id("a.test", "https://a.test/3", payload_digest(page(3)))
    assert document["text"] == "Page 3\n\n" + (SENTENCE.format(3) * 4).strip()
    assert (document["source"], document["fetched_at"], document["language"]) == ("a.test", TIME, None)
    repeated = next(row for row in ledger.values() if row["rule"] == "duplicate_record")
    assert repeated["evidence"] == document["id"]


@pytest.mark.parametrize("name", ["index.html", "INDEX.HTM", "index.php", "default.aspx"])
def test_a_folder_and_its_index_page_with_equal_bytes_are_one_page(
    make_artifact: Any, make_context: Any, name: str
) -> None:
    equal = [f"https://a.test/x/{name}", "https://a.test/x/", "https://a.test/"]
    other = [f"https://a.test/x/{name}?page=2", "https://a.test/x/other.html", "https://a.test/y/"]
    fetched = [(url, 200, "text/html", page(1)) for url in (*equal, *other)]
    fetched += [
        ("https://a.test/z/", 200, "text/html", page(2)),
        (f"https://a.test/z/{name}", 200, "text/html", page(3)),
    ]
    draft = run(write(make_artifact, fetched), make_artifact, make_context())
    ledger = {row["url"]: row for row in rows(draft.ledger)}
    removed = [url for url, row in ledger.items() if row["verdict"] == "removed"]
    assert removed == ["https://a.test/x/"], "the same page under two names, and no other"
    assert ledger["https://a.test/x/"]["rule"] == "duplicate_record"
    assert ledger["https://a.test/x/"]["evidence"] == ledger[equal[0]]["id"]


def test_the_result_is_golden(pages: Artifact, make_artifact: Any, make_context: Any) -> None:
    """Changes of this value need a new version of the stage; print the value below to get the new one."""
    draft = run(pages, make_artifact, make_context(), output_format="markdown", source="site")
    found = [[row["id"], row["text"], row["metadata"], row["split"]] for row in rows(draft.data)]
    assert (extract.STAGE.version, fingerprint(found)) == (7, "70ce22a481410b4c0abf462c207bf0d1")


def test_a_stage_that_lost_a_part_makes_the_same_bytes_again(
    pages: Artifact, make_artifact: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "FEWEST_UNITS", 1)
    monkeypatch.setattr(extract, "UNIT_PAGES", 3)
    draft = run(pages, make_artifact, make_context())
    files = sorted([*draft.data.glob("*.parquet"), *draft.ledger.glob("*.parquet")])
    before = {path: path.read_bytes() for path in files}
    assert len(files) == 12
    counts = draft.counts
    (draft.data / "00002.parquet").unlink()
    (draft.work / "receipts" / "00002.json").unlink()
    extract.run(extract.Config(), {"pages": pages}, draft, make_context())
    assert {path: path.read_bytes() for path in files} == before
    assert draft.counts == counts


def test_units_do_not_change_the_documents(
    pages: Artifact, make_artifact: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(pages, make_artifact, make_context(), "whole")
    monkeypatch.setattr(extract, "UNIT_BYTES", 1)
    pieces = run(pages, make_artifact, make_context(), "pieces")
    assert rows(pieces.data) == rows(whole.data)
    assert rows(pieces.ledger) == rows(whole.ledger)


def test_a_split_that_stays_empty_is_said(
    pages: Artifact, make_artifact: Any, make_context: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "test"):
        run(pages, make_artifact, make_context(), split={"tune": 1e-9, "validation": 0, "test": 0})
    assert "no document fell into the split `tune`" in caplog.text


def test_no_page_at_all_leaves_no_unit(make_artifact: Any, make_context: Any) -> None:
    draft, seal = make_artifact("pages", "none")
    write_parquet(INDEX.empty_table(), draft.data / "index.parquet")
    assert run(seal(), make_artifact, make_context()).counts.documents_out == 0
