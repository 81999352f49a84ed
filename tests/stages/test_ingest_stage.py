"""ingest as a stage: local files become documents that are called the same wherever the files lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cloudpickle
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.errors import InputError, RecipeError
from bessemer.extract import cut
from bessemer.extract.inputs import find_files
from bessemer.fingerprint import fingerprint
from bessemer.recipe import recipe
from bessemer.recipe.settings import result_settings
from bessemer.stages import ingest, kinds, load
from bessemer.stages.base import Context, Draft

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
    assert (draft.counts.documents_in, draft.counts.created, draft.counts.documents_out) == (0, 24, 22)
    assert draft.counts.removed_by_rule == {"malformed_json": 1, "unsupported_format": 1}
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
    assert (ingest.STAGE.version, fingerprint(found)) == (1, "6137df66ee49055c63d102a72ccfc6a3")


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
        st.sampled_from(["a.txt", "a.html", "b/a.jsonl", "a.parquet", "a.warc", "a.jsonl.gz", "a.bin"]),
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
    assert draft.counts.created == len(ledger) == len({row["id"] for row in ledger}) >= len(files)
    assert {row["id"] for row in documents} == {row["id"] for row in ledger if row["verdict"] == "kept"}
