"""clean as a stage: parts in, parts out, one verdict per document, the same bytes again; mistakes are reported."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.errors import InputError, NothingLeft
from bessemer.fingerprint import canonical, content_hash, origin_id
from bessemer.recipe.settings import result_settings
from bessemer.stages import clean

PROSE = "The cat is on the mat and it sleeps. It has been there since noon, and nobody dares to wake it. "


def document(number: int, text: str) -> dict[str, Any]:
    return {
        "id": origin_id("stage", str(number)),
        "text": text,
        "content_hash": content_hash(text),
        "url": f"file:{number}.txt",
        "source": "stage",
        "split": "train",
        "metadata": "{}",
    }


@pytest.fixture
def corpus(make_artifact: Callable[..., Any]) -> Artifact:
    """Three parts, one of them empty."""
    draft, seal = make_artifact("documents")
    texts = [PROSE + f"Number {n} stands here\r\nand the mail is cat{n}@example.org." for n in range(20)]
    texts += ["Die Katze liegt auf der Matte und schläft, und niemand wagt es, sie zu wecken.", "", "<>"]
    rows = [document(number, text) for number, text in enumerate(texts)]
    for number, part in enumerate([rows[:12], [], rows[12:]]):
        write_parquet(pa.Table.from_pylist(part, schema=SCHEMA), draft.data / f"{number:05d}.parquet")
    return seal()


RULES = ["normalise", "language", {"gopher_quality": {"min_words": 10}}, "pii"]


def run(corpus: Artifact, make_artifact: Callable[..., Any], context: Any, name: str, rules: Any = RULES) -> Any:
    draft, seal = make_artifact("documents", name)
    clean.run(clean.Config(rules=rules), {"documents": corpus}, draft, context)
    return draft, seal()


def digests(artifact: Artifact) -> dict[str, str]:
    files = [*sorted(artifact.data.iterdir()), *sorted(artifact.ledger.iterdir())]
    return {str(p.relative_to(artifact.path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_parts_become_parts_and_every_document_has_a_verdict(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    draft, made = run(corpus, make_artifact, make_context(), "clean")
    assert [path.name for path in made.parts()] == [path.name for path in corpus.parts()]
    counts = draft.counts
    assert (counts.documents_in, counts.documents_out, counts.changed, counts.removed) == (23, 20, 20, 3)
    assert counts.removed_by_rule == {"language/wanted_language": 2, "normalise/characters": 1}
    left = pa.concat_tables(map(pq.read_table, made.parts()))
    assert left["text"][0].as_py().endswith("Number 0 stands here\nand the mail is <EMAIL>.")
    assert set(left["language"].to_pylist()) == {"en"}
    assert draft.metrics["data/documents_out"] == 20


def test_the_same_documents_become_the_same_bytes_also_after_a_kill(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    draft, first = run(corpus, make_artifact, make_context(), "first")
    expected = digests(first)
    second_draft, _ = make_artifact("documents", "second")
    for done in ("data/00000.parquet", "ledger/00000.parquet", "work/receipts/00000.json"):
        (second_draft.path / done).parent.mkdir(parents=True, exist_ok=True)
        (second_draft.path / done).write_bytes((first.path / done).read_bytes())
    torn = second_draft.data / ".tmp-1234-00002.parquet"
    torn.write_bytes(b"PAR1")
    second_draft, second = run(corpus, make_artifact, make_context(), "second")
    torn.unlink()
    assert digests(second) == expected
    assert second_draft.counts == draft.counts


def test_golden_bytes(corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]) -> None:
    """Fails when the output changes; then raise `version` in `stages/clean.py`, and put the new digest here."""
    loose = [{"gopher_quality": {"min_words": 10}}, {"c4": {"terminal_punctuation": False, "min_sentences": 2}}]
    rules = ["normalise", "gopher_repetition", *loose, "fineweb_quality", "pii"]
    draft, made = run(corpus, make_artifact, make_context(), "golden", rules)
    assert draft.counts.documents_out == 20
    files = [path for folder in (made.data, made.ledger) for path in sorted(folder.iterdir())]
    digest = hashlib.sha256(canonical([pq.read_table(path).to_pylist() for path in files])).hexdigest()[:16]
    assert (clean.STAGE.version, digest) == (7, "8caa3c355f9dd15a")


def test_nothing_left_names_the_rules(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    with pytest.raises(NothingLeft, match="removed all 23 documents: 22 by `gopher_quality/words`, 1 by") as caught:
        run(corpus, make_artifact, make_context(), "none", ["normalise", "gopher_quality"])
    assert "`preset`" in caught.value.hint


def test_nothing_left_of_another_language_names_the_setting(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    """The presets keep English, so this is the first thing that a user with other documents meets."""
    with pytest.raises(NothingLeft, match="by `language/wanted_language`") as caught:
        run(corpus, make_artifact, make_context(), "none", ["normalise", {"language": {"languages": ["ja"]}}])
    assert "override: {language: {languages: [" in caught.value.hint


def test_the_content_of_a_users_file_counts_and_its_place_does_not(tmp_path: Path) -> None:
    rule = {"function": {"name": "f", "max": 1}}
    outsides, configs = [], []
    for folder, source in (
        ("a", "def f(text): return 0"),
        ("b", "def f(text): return 0"),
        ("c", "def f(text): return 2"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rules.py").write_text(source)
        rule["function"]["file"] = str(tmp_path / folder / "rules.py")
        configs.append(clean.Config(rules=[rule]))
        outsides.append(clean.outside(configs[-1]))
    assert outsides[0] == outsides[1] != outsides[2]
    assert result_settings(configs[0]) == result_settings(configs[1])
    with pytest.raises(InputError, match="does not exist"):
        clean.outside(clean.Config(rules=[{"function": {"file": "nowhere.py", "name": "f"}}]))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(text):\n    if not text: return True", r"returned None, a `NoneType` for `file:0.txt`"),
        ("def f(metadata):\n    return metadata['author'] == 'x'", "raised KeyError in line 2 of .* `file:0.txt`"),
        ("def f(txt=None, **more): return more", "returned {.*, a `dict`"),
        ("import nowhere_to_be_found\ndef f(text): return True", "cannot be run: ModuleNotFoundError in line 1"),
    ],
)
def test_a_mistake_in_a_custom_rule_ends_the_run_at_the_first_document(
    corpus: Artifact,
    make_artifact: Callable[..., Any],
    make_context: Callable[..., Any],
    tmp_path: Path,
    source: str,
    message: str,
) -> None:
    (tmp_path / "rules.py").write_text(source)
    rules = ["normalise", {"function": {"file": str(tmp_path / "rules.py"), "name": "f"}}]
    draft, _ = make_artifact("documents", "custom")
    with pytest.raises(InputError, match=message):
        clean.run(clean.Config(rules=rules), {"documents": corpus}, draft, make_context())
    assert not list(draft.ledger.iterdir())


def test_an_error_at_a_later_document_costs_that_document(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "rules.py").write_text("def f(text):\n    return 'Number 7 ' not in text or 1 / 0")
    rules = ["normalise", {"function": {"file": str(tmp_path / "rules.py"), "name": "f"}}]
    draft, made = run(corpus, make_artifact, make_context(), "custom", rules)
    assert draft.counts.removed_by_rule == {"crashed": 1, "normalise/characters": 1}
    rows = [row for path in sorted(made.ledger.iterdir()) for row in pq.read_table(path).to_pylist()]
    (evidence,) = [row["evidence"] for row in rows if row["verdict"] == "crashed"]
    assert "`f` raised ZeroDivisionError in line 2" in evidence


def test_a_wrong_value_at_a_later_document_ends_the_run(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "rules.py").write_text("def f(text):\n    return 'Number 7 ' not in text or None")
    rules = ["normalise", {"function": {"file": str(tmp_path / "rules.py"), "name": "f"}}]
    with pytest.raises(InputError, match=r"returned None, a `NoneType` for `file:7\.txt`"):
        run(corpus, make_artifact, make_context(), "custom", rules)


def test_the_plan_warns_of_languages_without_lists(corpus: Artifact) -> None:
    rules = ["normalise", {"language": {"languages": ["en", "gu"]}}, "gopher_quality", "c4"]
    said = clean.warnings(clean.Config(rules=rules), {}, None)
    assert [sentence.split(" ", 1)[0] for sentence in said] == ["`gopher_quality`", "`gopher_quality`", "`c4`"]
    assert clean.warnings(clean.Config(), {}, None) == []


def test_documents_that_stay_unjudged_are_counted_by_rule_and_language(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    rules = [{"language": {"languages": ["en", "de"]}}, {"gopher_quality": {"min_words": 10}}, "c4"]
    draft, made = run(corpus, make_artifact, make_context(), "skipped", rules)
    stays = [row["language"] for part in made.parts() for row in pq.read_table(part).to_pylist()]
    assert stays.count("de") == 1
    assert draft.resolved["abstentions"] == {"c4": {"de": 1}}, "the rest has lists for German"
    draft, _ = run(corpus, make_artifact, make_context(), "none", RULES)
    assert "abstentions" not in draft.resolved


def test_the_plan_tries_the_rules_on_the_input_and_reads_what_they_did(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "rules.py").write_text("raise SystemExit\ndef f(text): return True")  # a plan must not run it
    function = {"function": {"file": str(tmp_path / "rules.py"), "name": "f"}}
    english = {"language": {"languages": ["en", "de"], "min_language_probability": None}}
    rules = [english, {"gopher_quality": {"min_words": 31}}, function]
    expected = "`gopher_quality` removes 21 of 23 documents of `stage`"
    inputs = {"documents": corpus}
    assert clean.warnings(clean.Config(rules=rules), inputs, None) == [f"tried on 23 documents: {expected}"]
    assert clean.warnings(clean.Config(rules=["normalise"]), inputs, None) == []


def test_a_rule_that_removes_most_of_a_source_is_named_by_the_run_and_by_later_plans(
    corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "rules.py").write_text("def f(text): return 'Number 1 ' in text")
    rules = [{"function": {"file": str(tmp_path / "rules.py"), "name": "f"}}, "normalise"]
    log, records = logging.getLogger("heavy"), []
    log.addHandler(handler := logging.Handler())
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    _, made = run(corpus, make_artifact, make_context(log=log), "heavy", rules)
    assert records == ["`function` removes 22 of 23 documents of `stage`"]
    assert clean.warnings(clean.Config(rules=rules), {"documents": corpus}, made) == records


def test_the_worker_can_be_sent_to_another_process() -> None:
    worker = cloudpickle.loads(cloudpickle.dumps(clean.CleanWorker(clean.Config())))
    assert "language/language_probability" in worker.signals
