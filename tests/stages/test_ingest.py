"""ingest as a stage: local files become documents that are called the same wherever the files lie."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import cloudpickle
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.errors import InputChanged, InputError, RecipeError
from bessemer.extract import cut
from bessemer.extract.inputs import find_files
from bessemer.fingerprint import fingerprint
from bessemer.recipe import recipe
from bessemer.recipe.settings import result_settings
from bessemer.stages import ingest, kinds, load
from bessemer.stages.base import Context, Draft

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SENTENCE = "A sentence of the page that is long enough to be taken for its text by the extractor. "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "books").mkdir(parents=True)
    (data / "books" / "novel.txt").write_bytes("Ein Roman über alles.\r\n".encode("cp1252") * 40)
    (data / "page.html").write_text(f"<html><body><article><p>{SENTENCE * 4}</p></article></body></html>")
    lines = [json.dumps({"text": f"record {number}", "url": f"https://a.test/{number}"}) for number in range(20)]
    (data / "records.jsonl").write_text("\n".join([*lines[:10], "{broken", *lines[10:]]) + "\n")
    (data / "cover.png").write_bytes(b"\x89PNG")
    return data


def run(make_artifact: Any, context: Context, name: str = "ingest", **changes: Any) -> Draft:
    draft, _ = make_artifact("documents", name)
    ingest.run(ingest.Config(**changes), {}, draft, context)
    return draft  # type: ignore[no-any-return]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_every_file_and_record_has_a_verdict(folder: Path, make_artifact: Any, make_context: Any) -> None:
    draft = run(make_artifact, make_context(), paths=[str(folder)], license="CC0-1.0")
    assert draft.counts is not None
    assert (draft.counts.documents_in, draft.counts.created, draft.counts.documents_out) == (0, 23, 22)
    assert draft.counts.removed_by_rule == {"malformed_json": 1}
    assert draft.counts.files_failed == draft.metrics["data/files_failed"] == 1
    documents = {row["url"]: row for row in rows(draft.data)}
    assert documents["file:books/novel.txt"]["text"] == "Ein Roman über alles.\n" * 40
    assert documents["file:books/novel.txt"]["source"] == "books"
    assert {row["license"] for row in documents.values()} == {"CC0-1.0"}
    assert documents["https://a.test/12"]["source"] == "records"


def test_ids_and_fingerprint_do_not_depend_on_the_place(
    folder: Path, tmp_path: Path, make_artifact: Any, make_context: Any
) -> None:
    here = ingest.Config(paths=[str(folder)])
    before, outside = rows(run(make_artifact, make_context(), "here", paths=here.paths).data), ingest.outside(here)
    there = shutil.copytree(folder, tmp_path / "renamed")
    assert rows(run(make_artifact, make_context(), "there", paths=[str(there)]).data) == before
    assert ingest.outside(ingest.Config(paths=[str(there)])) == outside
    assert len({row["id"] for row in before}) == len(before)


def test_the_result_is_golden(folder: Path, make_artifact: Any, make_context: Any) -> None:
    """Changes of this value need a new version of the stage; print the value below to get the new one."""
    draft = run(make_artifact, make_context(), paths=[str(folder)])
    found = [[row["id"], row["text"], row["metadata"], row["split"]] for row in rows(draft.data)]
    assert (ingest.STAGE.version, fingerprint(found)) == (7, "6137df66ee49055c63d102a72ccfc6a3")


def test_units_do_not_change_the_documents(
    folder: Path, make_artifact: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(make_artifact, make_context(), "whole", paths=[str(folder)])
    monkeypatch.setattr(cut.cut_into_units, "__kwdefaults__", {"unit_bytes": 200})
    pieces = run(make_artifact, make_context(), "pieces", paths=[str(folder)])
    assert len(list(pieces.data.iterdir())) > 5
    assert rows(pieces.data) == rows(whole.data)
    assert rows(pieces.ledger) == rows(whole.ledger)


def test_a_stage_that_lost_a_part_makes_the_same_bytes_again(
    folder: Path, make_artifact: Any, make_context: Any
) -> None:
    draft = run(make_artifact, make_context(), paths=[str(folder)])
    part = draft.data / "00000.parquet"
    before = part.read_bytes()
    part.unlink()
    (draft.work / "receipts" / "00000.json").unlink()
    ingest.run(ingest.Config(paths=[str(folder)]), {}, draft, make_context())
    assert part.read_bytes() == before


def test_worker_and_units_travel_to_other_processes(folder: Path) -> None:
    worker = cloudpickle.loads(cloudpickle.dumps(ingest.IngestWorker(ingest.Config(paths=[str(folder)]))))
    (unit,) = cut.cut_into_units(find_files([str(folder)]))
    (batch,) = worker.read(cloudpickle.loads(cloudpickle.dumps(unit)))
    assert len(worker.process(batch)[1]) == len(batch) == 24


def test_one_format_for_all_files(folder: Path, make_artifact: Any, make_context: Any) -> None:
    draft = run(make_artifact, make_context(), paths=[str(folder / "records.jsonl")], format="text", source="raw")
    (document,) = rows(draft.data)
    assert document["text"].startswith('{"text": "record 0"')
    assert document["source"] == "raw"


def test_paths_that_are_not_there_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as error:
        ingest.outside(ingest.Config(paths=[str(tmp_path / "absent")]))
    assert "relative to the folder of the recipe" in error.value.hint


def test_a_file_that_cannot_be_read_is_a_failed_file_and_not_a_removed_document(
    tmp_path: Path, make_artifact: Any, make_context: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken Parquet file may hold a million documents, so it is not counted as one."""
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "other.jsonl").write_text('{"text": "one"}\n{"other": "two"}\n')
    stories = gzip.compress(b"".join(b'{"text": "a story"}\n' for _ in range(100)))
    (tmp_path / "cut.jsonl.gz").write_bytes(stories[:-12])
    draft = run(make_artifact, make_context(), paths=[str(tmp_path)])
    assert draft.counts is not None
    assert draft.counts.removed_by_rule == {"missing_text": 1}
    assert draft.counts.created == draft.counts.documents_out + 1
    failed = {row["url"]: row["rule"] for row in rows(draft.ledger) if row["verdict"] == "failed"}
    assert len(failed) == draft.counts.files_failed == draft.metrics["data/files_failed"] == 2
    assert failed["file:broken.parquet"] == "unreadable_file"
    assert "2 files could not be read completely: broken.parquet (" in caplog.text
    assert "cut.jsonl.gz#" in caplog.text
    assert "Compressed file ended" in caplog.text


def test_values_that_are_lost_are_counted_and_told(
    tmp_path: Path, make_artifact: Any, make_context: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen = pa.array([2**60, 0, 2**60]).cast(pa.timestamp("ms"))
    pq.write_table(pa.table({"text": ["one", "two", "three"], "seen": seen}), tmp_path / "a.parquet")
    draft = run(make_artifact, make_context(), paths=[str(tmp_path)])
    assert draft.counts is not None
    assert draft.counts.documents_out == 3
    assert draft.metrics["data/unconverted_values"] == 2
    expected = (
        "2 values in 2 documents could not be converted and are null; the first is in file:a.parquet#1 (not convertible"
    )
    assert expected in caplog.text


@pytest.mark.parametrize("title", ["cut emoji \\ud83d", "\\udc00", "\\ud800\\ud800 \\ud83d\\ude00"])
def test_half_a_character_in_another_field_costs_nothing(
    tmp_path: Path, make_artifact: Any, make_context: Any, title: str
) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one", "title": "{title}", "{title}": 1}}\n')
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b'{"text": "two", "title": "\xff"}\n{"text": "f\xfcr"}\n')
    (first, second) = rows(run(make_artifact, make_context(), paths=[str(tmp_path)]).data)
    assert (first["text"], second["text"]) == ("one", "two")
    assert "\ufffd" in json.loads(first["metadata"])["title"]
    assert json.loads(second["metadata"])["title"] == "\ufffd"


def test_every_format_gives_the_same_texts(tmp_path: Path, make_artifact: Any, make_context: Any) -> None:
    values = [{"text": f"The harbour, number {number}.\nIt is old.", "n": number} for number in range(3)]
    lines = "".join(f"{json.dumps(value)}\n" for value in values)
    table = io.StringIO(newline="")
    csv.DictWriter(table, ["n", "text"]).writerows([{"n": "n", "text": "text"}, *values])
    contents = {
        "a.jsonl": lines.encode(),
        "b.json": json.dumps(values, indent=1).encode(),
        "c.json.gz": gzip.compress(lines.encode()),
        "d.csv": table.getvalue().encode(),
        "e.tsv": b"n\ttext\n" + b"".join(f'{v["n"]}\t"{v["text"]}"\n'.encode() for v in values),
        "f.jsonl": lines.encode("utf-16"),
        "g.zst": zstd.compress(lines.encode()),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "h.parquet")
    documents = rows(run(make_artifact, make_context(), paths=[str(tmp_path)]).data)
    assert [row["text"] for row in documents] == [value["text"] for value in values] * 8


def test_paths_in_a_recipe_are_relative_to_it(folder: Path, tmp_path: Path) -> None:
    path = folder.parent / "recipe.yaml"
    path.write_text("name: books\nstages:\n  ingest: {paths: [data, 'data/*.jsonl'], fields: {text: body}}\n")
    (stage,) = recipe.load(path, [], load, kinds()).stages
    assert stage.config.paths == [str(folder), str(folder / "*.jsonl")]
    assert "paths" not in result_settings(stage.config), "where files lie does not change the result"
    path.write_text("name: books\nstages:\n  ingest: {}\n")
    with pytest.raises(RecipeError, match="paths"):
        recipe.load(path, [], load, kinds())


@given(
    st.dictionaries(
        st.sampled_from(
            ["a.txt", "a.html", "b/a.jsonl", "a.json", "a.csv", "a.parquet", "a.warc", "a.jsonl.gz", "a.bin"]
        ),
        st.one_of(st.binary(max_size=120), st.sampled_from([b'{"text": "x"}\n' * 3, b"<p>text", b"WARC/1.0\r\n"])),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_and_created_is_out_and_removed_for_any_folder(
    tmp_path_factory: pytest.TempPathFactory, make_context: Any, files: dict[str, bytes]
) -> None:
    tmp_path = tmp_path_factory.mktemp("any")
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    draft = Draft(tmp_path / "draft", "any")
    ingest.run(ingest.Config(paths=[str(tmp_path / "in")]), {}, draft, make_context())
    ledger, documents = rows(draft.ledger), rows(draft.data)
    assert draft.counts is not None
    assert draft.counts.created + draft.counts.files_failed == len(ledger) >= len(files)
    assert len({row["id"] for row in ledger}) == len(ledger)
    assert {row["id"] for row in documents} == {row["id"] for row in ledger if row["verdict"] == "kept"}


def test_files_are_compared_with_the_plan_after_they_are_found_and_before_they_are_read(
    folder: Path, make_artifact: Any, make_context: Any
) -> None:
    """The states that the workers compare are from before this comparison, so they belong to the planned content."""
    assert ingest.STAGE.verifies_reads

    def changed() -> None:
        raise InputChanged("changed")

    draft, _ = make_artifact("documents", "ingest")
    with pytest.raises(InputChanged):
        ingest.run(ingest.Config(paths=[str(folder)]), {}, draft, make_context(check_outside=changed))
    assert not (draft.path / "data").exists() or not rows(draft.data)


def test_a_unit_whose_file_changes_while_it_is_read_has_no_receipt(
    folder: Path, make_artifact: Any, make_context: Any
) -> None:
    """The units before it keep theirs, and the restored file is read by the next attempt."""
    file = folder / "records.jsonl"
    content = file.read_bytes()

    def disturb() -> None:
        time.sleep(0.02)  # longer than the steps of the file system's clock
        file.write_bytes(content[::-1])

    draft, _ = make_artifact("documents", "ingest")
    with pytest.raises(InputChanged, match="records"):
        ingest.run(ingest.Config(paths=[str(folder)]), {}, draft, make_context(check_outside=disturb))
    assert not list((draft.work / "receipts").glob("*.json"))
    file.write_bytes(content)
    ingest.run(ingest.Config(paths=[str(folder)]), {}, draft, make_context())
    assert sum(row["url"].startswith("https://a.test/") for row in rows(draft.data)) == 20
