"""Laws of cleaning: no document is lost, verdicts do not depend on neighbours, cleaning twice changes nothing more."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.clean.clean_corpus import make_documents
from tests.support.documents import documents

from bessemer.artifacts.documents import SCHEMA
from bessemer.artifacts.ledger import Counts
from bessemer.clean.documents import clean_documents, signal_names
from bessemer.clean.settings import CleanSettings
from bessemer.fingerprint import content_hash

EVERYTHING = CleanSettings.model_validate(
    {
        "rules": [
            "normalise",
            {"language": {"languages": ["en", "de", "fr"]}},
            "gopher_repetition",
            {"gopher_quality": {"min_words": 5}},
            {"c4": {"terminal_punctuation": False, "min_sentences": 1, "max_curly_bracket_lines": None}},
            "fineweb_quality",
            "pii",
        ]
    }
)
PIECE = st.one_of(
    st.text(max_size=20), st.sampled_from([*make_documents(60), "a@b.example ", "415-555-2671", "[12]", "\n"])
)
TEXT = st.lists(PIECE, max_size=4).map("".join)


@pytest.fixture(scope="module")
def cleaned() -> tuple[pa.Table, pa.Table, pa.Table]:
    table = documents(make_documents())
    return table, *clean_documents(table, EVERYTHING)


def test_every_document_has_one_verdict_and_the_right_hash(cleaned: tuple[pa.Table, ...]) -> None:
    table, left, ledger = cleaned
    assert left.schema == SCHEMA
    assert ledger["id"].to_pylist() == table["id"].to_pylist()
    counts = Counts.of(left, ledger)
    assert counts.documents_out > 20
    assert counts.changed > 10
    assert len(counts.removed_by_rule) > 15
    assert left["content_hash"].to_pylist() == [content_hash(text) for text in left["text"].to_pylist()]


def test_verdicts_say_what_happened(cleaned: tuple[pa.Table, ...]) -> None:
    table, left, ledger = cleaned
    before = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    after = dict(zip(left["id"].to_pylist(), left["text"].to_pylist(), strict=True))
    for row in ledger.to_pylist():
        if row["verdict"] == "removed":
            assert row["id"] not in after
            value, threshold, signal = row["value"], row["threshold"], row["signals"][row["rule"]]
            assert value == signal
            assert value != threshold
        else:
            assert (row["verdict"] == "changed") == (before[row["id"]] != after[row["id"]])
            assert (row["rule"] is not None) == (row["verdict"] == "changed")
    assert set(left["language"].to_pylist()) == {"en"}  # the others lack Gopher's English stop words


@settings(max_examples=15, deadline=None)
@given(st.lists(TEXT, max_size=8), st.randoms(use_true_random=False))
@example(texts=["[12]"], random=Random(0))  # a line of which a citation leaves nothing
def test_neighbours_and_order_make_no_difference(texts: list[str], random: Any) -> None:
    table = documents(texts)
    left, ledger = clean_documents(table, EVERYTHING)
    Counts.of(left, ledger)

    alone = [clean_documents(table.slice(row, 1), EVERYTHING) for row in range(len(table))]
    assert pa.concat_tables([SCHEMA.empty_table(), *(one for one, _ in alone)]).equals(left)
    assert pa.concat_tables([ledger.slice(0, 0), *(one for _, one in alone)]).equals(ledger)

    order = list(range(len(texts)))
    random.shuffle(order)
    shuffled, shuffled_ledger = clean_documents(table.take(pa.array(order, pa.int64())), EVERYTHING)
    assert shuffled_ledger.equals(ledger.take(pa.array(order, pa.int64())))
    assert shuffled.sort_by("id").equals(left.sort_by("id"))


@settings(max_examples=20, deadline=None)
@given(st.lists(TEXT, max_size=6))
def test_masking_and_normalising_again_changes_nothing(texts: list[str]) -> None:
    rules = CleanSettings.model_validate({"rules": ["normalise", "pii"]})
    once, _ = clean_documents(documents(texts), rules)
    twice, ledger = clean_documents(once, rules)
    assert twice.equals(once)
    assert set(ledger["verdict"].to_pylist()) <= {"kept"}


def test_a_batch_without_documents() -> None:
    left, ledger = clean_documents(documents([]), EVERYTHING)
    assert len(left) == len(ledger) == 0
    assert ledger.schema.field("signals").type.num_fields == len(signal_names(EVERYTHING.rules))


def test_a_document_that_is_too_long_is_removed_unseen() -> None:
    rules = EVERYTHING.model_copy(update={"max_characters": 1000})
    left, ledger = clean_documents(documents(["é" * 1001, "The cat is on the mat, and it sleeps. " * 3]), rules)
    assert len(left) == 1 - (ledger["verdict"][1].as_py() == "removed")
    row = ledger.slice(0, 1).to_pylist()[0]
    assert (row["verdict"], row["rule"], row["value"], row["threshold"]) == ("removed", "max_characters", 1001, 1000)
    assert set(row["signals"].values()) == {None}


def test_a_hundred_megabytes_in_one_line_take_no_memory() -> None:
    text = pa.array(["x y z w " * (100 << 17)], pa.large_string())
    table = documents(["-"]).set_column(1, SCHEMA.field("text"), text)
    _, ledger = clean_documents(table, CleanSettings())
    assert ledger["rule"].to_pylist() == ["max_characters"]


def test_a_rule_measures_what_an_earlier_one_removed() -> None:
    rules = CleanSettings.model_validate({"rules": ["gopher_quality", "fineweb_quality"]})
    _, ledger = clean_documents(documents(["One line.", "One line."]), rules)
    signals = pc.struct_field(ledger["signals"], "fineweb_quality/terminal_line_ratio")
    assert ledger["rule"].to_pylist() == ["gopher_quality/words"] * 2
    assert np.array_equal(signals.to_numpy(), [1, 1])


def test_a_rule_finds_the_language_itself_if_no_rule_did_before() -> None:
    texts = [
        "Der Hund und die Katze liegen mit dem Nachbarn in der Sonne und schlafen.",
        "我们在学校学习，他也在中国的学校。",
    ]
    rules = CleanSettings.model_validate({"rules": [{"gopher_quality": {"min_words": 3}}]})
    left, ledger = clean_documents(documents(texts), rules)
    assert len(left) == 2
    assert left["language"].to_pylist() == [None, None]
    assert all(row["gopher_quality/stop_words"] >= 2 for row in ledger["signals"].to_pylist())


def test_the_language_that_a_document_states_counts() -> None:
    table = documents(["Der Hund und die Katze liegen mit dem Nachbarn in der Sonne und schlafen."] * 3)
    table = table.set_column(6, SCHEMA.field("language"), pa.array(["de-AT", "en", "gu"]))
    rules = CleanSettings.model_validate({"rules": [{"gopher_quality": {"min_words": 3}}]})
    _, ledger = clean_documents(table, rules)
    assert ledger["rule"].to_pylist() == [None, "gopher_quality/stop_words", None]
    assert ledger["threshold"].to_pylist() == [None, 2, None]


def test_a_custom_rule_sees_the_document_and_only_those_that_are_left(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(
        "def shorter(text, url, language, metadata):\n"
        "    assert text and language and metadata == {}\n"
        "    return text.upper() if url == 'file:1' else True\n"
    )
    rules = ["normalise", "language", {"function": {"file": str(tmp_path / "rules.py"), "name": "shorter"}}]
    texts = ["", "The cat is on the mat, and it sleeps.", "Nobody dares to wake it up at all."]
    left, ledger = clean_documents(documents(texts), CleanSettings.model_validate({"rules": rules}))
    assert left["text"].to_pylist() == [texts[1].upper(), texts[2]]
    assert left["content_hash"].to_pylist() == [content_hash(text) for text in left["text"].to_pylist()]
    assert ledger["rule"].to_pylist() == ["normalise/characters", "function", None]
    assert [row["function/shorter"] for row in ledger["signals"].to_pylist()] == [None, 1, 1]
