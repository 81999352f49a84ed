"""Contamination: items in the training documents are found with the document's name, and no others are."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.dedup.words import find_words
from bessemer.evaluate.contamination import CheckedItem, Index, judge, scan

WORDS = ("the", "of", "and", "to", "in", "is", "was", "for", "on", "are", "with", "they", "be", "at", "one", "have")


def hash_words(texts: Sequence[str]) -> Any:
    """Words with their numbers and operators, as the stage hashes them."""
    words = find_words(texts)
    return words.hashes, words.offsets


def passage(seed: int, length: int) -> str:
    """Words in an order that is unique to the seed."""
    own = "q" + "".join("abcdefghij"[int(digit)] for digit in str(seed))
    return " ".join(random.Random(seed).choices([*WORDS, own], k=length))


def documents(*texts: str) -> pa.Table:
    numbers = range(len(texts))
    return pa.table(
        {
            "id": [f"d{i}" for i in numbers],
            "url": [f"http://d/{i}" for i in numbers],
            "split": ["train"] * len(texts),
            "text": pa.array(texts, pa.large_string()),
        }
    )


def judged(items: list[CheckedItem], *texts: str, batches: int = 1, threshold: float = 0.2) -> list[dict[str, object]]:
    index = Index.of(items, hash_words)
    table = documents(*texts)
    size = max(1, -(-len(table) // batches))
    matches = scan(index, [table.slice(i, size) for i in range(0, len(table), size)], hash_words)
    rows: list[dict[str, object]] = judge(index, matches, threshold).to_pylist()
    return rows


def test_an_item_is_found_however_it_is_written_and_the_document_is_named() -> None:
    question = passage(1, 20)
    document = f"{passage(2, 50)}\n\nQ: {question.upper().replace(' ', ',  ')}! {passage(3, 50)}"
    seen, other = judged(
        [CheckedItem("t", "a", question), CheckedItem("t", "b", passage(4, 20))], passage(5, 80), document
    )
    assert (seen["overlap"], seen["contaminated"], seen["document"], seen["url"]) == (1.0, True, "d1", "http://d/1")
    assert (other["overlap"], other["contaminated"], other["document"]) == (0.0, False, None)


def test_a_thirteen_gram_is_enough_for_a_question_and_twelve_words_are_not() -> None:
    words = passage(1, 40).split()
    for count, expected in ((12, 0.0), (13, 13 / 40), (20, 0.5)):
        (row,) = judged([CheckedItem("t", "a", " ".join(words))], f"zig {' '.join(words[5 : 5 + count])} zag")
        assert (row["ngram_size"], row["overlap"]) == (13, pytest.approx(expected))
        assert row["contaminated"] is (expected > 0)


def test_a_long_document_is_not_contaminated_by_one_quotation() -> None:
    text = passage(1, 400)
    quoted = " ".join(text.split()[100:120])
    (row,) = judged([CheckedItem("held_out", "a", text)], f"x {quoted} y")
    assert (row["overlap"], row["contaminated"], row["document"]) == (pytest.approx(0.05), False, "d0")


def test_short_items_are_looked_for_whole_and_tiny_ones_are_not_judged() -> None:
    items = [
        CheckedItem("t", "whole", "colourless green ideas sleep furiously"),
        CheckedItem("t", "tiny", "green ideas sleep"),
    ]
    whole, tiny = judged(items, "he said that colourless green ideas sleep furiously at night")
    assert (whole["ngram_size"], whole["contaminated"]) == (5, True)
    assert (tiny["overlap"], tiny["contaminated"]) == (None, None)
    whole, _ = judged(items, "colourless green ideas sleep; he furiously wrote")
    assert whole["contaminated"] is False


def test_the_size_is_that_of_the_task() -> None:
    items = [CheckedItem("short", str(i), passage(i, 10)) for i in range(20)] + [
        CheckedItem("long", "x", passage(99, 30))
    ]
    assert [row["ngram_size"] for row in judged(items, "nothing")] == [10] * 20 + [13]


def test_no_ngram_reaches_across_two_documents() -> None:
    words = passage(1, 13).split()
    (row,) = judged([CheckedItem("t", "a", " ".join(words))], " ".join(words[:6]), " ".join(words[6:]))
    assert row["overlap"] == 0.0


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_hashed_matches_are_those_of_words_compared_one_by_one(seed: int, batches: int) -> None:
    """Compared with the definition on texts of three different words, which share n-grams by chance. The number of
    batches does not matter."""
    chance = random.Random(seed)
    texts = [" ".join(chance.choices("ab", k=chance.randint(0, 40))) for _ in range(6)]
    items = [
        CheckedItem(chance.choice("xy"), str(i), " ".join(chance.choices("ab", k=chance.randint(4, 25))))
        for i in range(5)
    ]
    rows = judged(items, *texts, batches=batches)
    assert rows == judged(items, *texts)
    for item, row in zip(items, rows, strict=True):
        words, size = item.text.split(), int(str(row["ngram_size"]))
        windows = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
        of_texts = [{tuple(t.split()[i : i + size]) for i in range(len(t.split()) - size + 1)} for t in texts]
        covered = {
            place for start, window in enumerate(windows) for place in range(start, start + size)
            if any(window in known for known in of_texts)
        }  # fmt: skip
        assert row["overlap"] == pytest.approx(len(covered) / len(words))
        shared = [sum(window in known for window in windows) for known in of_texts]
        assert row["document"] == (f"d{shared.index(max(shared))}" if max(shared) else None)


def test_nothing_in_and_nothing_out() -> None:
    assert judged([], "a b c") == []
    (row,) = judged([CheckedItem("t", "a", "")], "a b c")
    assert (row["num_words"], row["contaminated"]) == (0, None)


def test_of_real_questions_those_that_quote_what_textbooks_quote_are_found(dataset: Callable[[str], Path]) -> None:
    """BoolQ compared with four textbooks: both contain the constitution's amendments, and almost nothing else in
    common."""
    lines = (dataset("eval_gauntlet") / "boolq.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    items = [CheckedItem("boolq", str(n), f"{q['query']} {q['choices'][q['gold']]}") for n, q in enumerate(questions)]
    sections = (dataset("text_en_openstax") / "openstax.jsonl").read_text(encoding="utf-8").splitlines()
    rows = judged(items, *(json.loads(section)["text"] for section in sections), batches=4)
    seen = {row["id"]: row["overlap"] for row in rows if row["contaminated"]}
    assert seen.keys() >= {"507", "1850"}
    assert len(seen) < 0.002 * len(items)
    assert "No person shall be elected to the office of the President more than twice" in items[507].text
