"""dedup as a stage: counts add up, a killed stage continues to the same bytes, limits and anomalies are reported."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.dedup import steps
from bessemer.errors import BessemerError
from bessemer.fingerprint import canonical, content_hash, origin_id
from bessemer.stages import dedup
from bessemer.stages.engine.work_units import Unit

VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnprstvw"


def page(topic: int, num_words: int = 60) -> list[str]:
    """Made-up words, others for every topic."""
    return [
        CONSONANTS[(topic * 7 + n * n) % 17]
        + VOWELS[n % 5]
        + CONSONANTS[(topic + n) % 17]
        + VOWELS[(topic + n // 5) % 5]
        for n in range(num_words)
    ]


def document(url: str, text: str, source: str, split: str = "train") -> dict[str, Any]:
    return {
        "id": origin_id(url),
        "text": text,
        "content_hash": content_hash(text),
        "url": url,
        "source": source,
        "split": split,
        "metadata": "{}",
    }


@pytest.fixture
def corpus(make_artifact: Callable[..., Any]) -> Artifact:
    """Three parts, one of them empty: 30 pages, a mirror with copies of 25 and small edits of 5, in other splits."""
    draft, seal = make_artifact("documents")
    pages = [document(f"http://a.test/{n}", " ".join(page(n)), "a") for n in range(30)]
    copies = [document(f"http://mirror.test/{n}", " ".join(page(n)) + "\n", "mirror", "test") for n in range(25)]
    edits = [document(f"http://mirror.test/{n}", " ".join(page(n)[:-2]), "mirror", "test") for n in range(25, 30)]
    for number, rows in enumerate([pages[:20], [], [*copies, *edits, *pages[20:]]]):
        write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), draft.data / f"{number:05d}.parquet")
    return seal()


def run(
    corpus: Artifact, make_artifact: Callable[..., Any], context: Any, name: str = "dedup", **settings: Any
) -> tuple[Any, Artifact]:
    draft, seal = make_artifact("documents", name)
    dedup.run(dedup.Config(**settings), {"documents": corpus}, draft, context)
    return draft, seal()


def tables(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def digests(artifact: Artifact) -> dict[str, str]:
    files = [*sorted(artifact.data.iterdir()), *sorted(artifact.ledger.iterdir())]
    return {str(p.relative_to(artifact.path)): hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in files}


def test_every_document_stays_or_names_the_one_that_does(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any], caplog: Any
) -> None:
    with caplog.at_level(logging.WARNING):
        draft, artifact = run(corpus, make_artifact, make_context())
    counts = draft.counts
    assert (counts.documents_in, counts.documents_out) == (60, 30)
    assert counts.removed_by_rule == {"exact_duplicate": 25, "near_duplicate": 5}
    assert [path.name for path in artifact.parts()] == [path.name for path in corpus.parts()]
    stays, ledger, before = tables(artifact.data), tables(artifact.ledger), tables(corpus.data)
    assert set(stays["source"].to_pylist()) == {"a"}
    assert ledger["id"].to_pylist() == before["id"].to_pylist()
    for row in ledger.to_pylist():
        if row["verdict"] == "removed":
            assert row["evidence"].split(" ")[:2] == [origin_id(url := row["url"].replace("mirror", "a")), url]
            assert "`mirror` loses 30 of 30" in row["evidence"]
    assert "source `mirror` loses 30 of its 30 documents" in caplog.text
    assert draft.metrics["dedup/pairs_verified"] == 5


def test_golden_rows(corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]) -> None:
    """Other rows need a new version of the stage `dedup`; then put the new hashes here."""
    _, artifact = run(corpus, make_artifact, make_context())
    found = [canonical(tables(folder).to_pylist()) for folder in (artifact.data, artifact.ledger)]
    assert [hashlib.sha256(rows).hexdigest()[:16] for rows in found] == ["9e2d7884948c38b6", "01c821cb6a38b73f"]


@pytest.mark.parametrize("killed_after", [0, 1, 4, 9, 12, 15])
def test_a_killed_stage_continues_to_the_same_bytes(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any], killed_after: int
) -> None:
    """A stage killed in any unit continues to the same result; units with a receipt are not done again."""
    _, whole = run(corpus, make_artifact, make_context(), "whole")
    draft, seal = make_artifact("documents", "killed")

    class Killed(Exception):
        pass

    units_done = 0

    def progress(done: int, total: int, unit: str, **facts: object) -> None:
        nonlocal units_done
        units_done += bool(done)
        if units_done > killed_after:
            raise Killed

    with pytest.raises(Killed):
        dedup.run(dedup.Config(), {"documents": corpus}, draft, make_context(progress=progress))
    dedup.run(dedup.Config(), {"documents": corpus}, draft, make_context())
    assert digests(seal()) == digests(whole)


def test_a_capped_bucket_is_said(
    make_artifact: Callable[..., Any], make_context: Callable[..., Any], caplog: Any
) -> None:
    """Pages of one template, alike but not enough: comparisons are left out, none is removed for it."""
    draft, seal = make_artifact("documents", "template")
    rows = [document(f"http://a.test/{n}", " ".join(page(0, 40) + page(n + 1, 30)), "a") for n in range(12)]
    write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), draft.data / "00000.parquet")
    with caplog.at_level(logging.WARNING):
        draft, _ = run(seal(), make_artifact, make_context(), max_candidates=2, rows_per_band=1)
    assert draft.counts.documents_out == 12
    assert "comparisons were skipped" in caplog.text
    assert draft.metrics["dedup/pairs_left_out"] > 0


def test_bands_that_miss_much_are_said(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any], caplog: Any
) -> None:
    with caplog.at_level(logging.WARNING):
        run(corpus, make_artifact, make_context(), threshold=0.5)
    assert "20 bands of 6 rows propose only 27 % of the pairs at the threshold 0.5" in caplog.text


def test_no_parts_are_no_documents(make_artifact: Callable[..., Any], make_context: Callable[..., Any]) -> None:
    _, seal = make_artifact("documents", "nothing")
    draft, _ = run(seal(), make_artifact, make_context())
    assert draft.counts.documents_out == 0


def test_workers_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    workspace = dedup.Workspace(tmp_path, (tmp_path / "part.parquet",), dedup.Config())
    for step in (*steps.EXACT, *steps.NEAR, steps.DECISION):
        assert pickle.loads(cloudpickle.dumps(dedup._DoStep(workspace, step))).step.name == step.name
    assert pickle.loads(cloudpickle.dumps(dedup._Judge(workspace))).signals == ("jaccard", "num_shingles")


def test_a_step_that_killed_its_process_twice_ends_the_run_with_advice(tmp_path: Path) -> None:
    workspace = dedup.Workspace(tmp_path, (), dedup.Config())
    with pytest.raises(BessemerError, match="crashed its process twice"):
        dedup._DoStep(workspace, steps.DECISION)(Unit("00000", (0, 1)), careful=True)
