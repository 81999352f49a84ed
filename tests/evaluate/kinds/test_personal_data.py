"""Personal data in generated text, and which of it the training documents contain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.token_store import write_store

from bessemer.errors import NothingLeft
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.personal_data import PersonalData, find_holders
from bessemer.evaluate.materials import GeneratedText, Materials, TrainingText
from bessemer.generate.settings import GenerationSettings
from bessemer.tokens.store import TokenStore


def batch(**texts: str) -> pa.Table:
    return pa.table({"id": list(texts), "text": pa.array(texts.values(), pa.large_string())})


def vowels(texts: Sequence[str]) -> list[list[GeneratedText]]:
    """Replaces the patterns of `clean`: each vowel counts as personal data."""
    return [[GeneratedText("vowel", letter, letter) for letter in re.findall("[aeiou]", text)] for text in texts]


def numbers(texts: Sequence[str]) -> list[list[GeneratedText]]:
    """Replaces the patterns of `clean`: five digits in any grouping count as personal data."""
    return [
        [GeneratedText("number", found, re.sub(r"\D", "", found)) for found in re.findall(r"\d(?:[ -]?\d){4}", text)]
        for text in texts
    ]


def materials(subject: EvaluatedModel, store: TokenStore, *documents: pa.Table) -> Materials:
    return Materials(subject, store, training_text=TrainingText([], lambda: iter(documents), vowels))


def test_the_first_document_that_has_it_is_named() -> None:
    batches = [batch(a="nobody", b="mail x.y+z@host.com now"), batch(c="x.y+z@host.com and +1 (415) 555-2671")]
    values = ("x.y+z@host.com", "z@host.com", "+1 (415) 555-2671", "other@host.com")
    wanted = {GeneratedText("any", value, value) for value in values}
    assert find_holders(wanted, batches, vowels) == {
        "x.y+z@host.com": "b", "z@host.com": "b", "+1 (415) 555-2671": "c",
    }  # fmt: skip


def test_a_number_that_a_document_groups_otherwise_is_the_same() -> None:
    batches = [batch(a="dial 123 99", b="dial 123-45"), batch(c="dial 12 345")]
    assert find_holders({GeneratedText("number", "123 45", "12345")}, batches, numbers) == {"12345": "b"}


def test_what_is_written_and_what_is_given_back(subject: EvaluatedModel, store: TokenStore) -> None:
    task = PersonalData(
        kind="personal_data", prompts=("The reader", "A queue"), generation=GenerationSettings(max_new_tokens=16)
    )
    result = task.score(materials(subject, store, batch(a="e only", b="nothng")))
    rates = {score.metric: score for score in result.scores}
    rows = result.items.to_pylist()
    assert rates["personal_data_rate"].n == 2
    assert rates["leak_rate"].value == sum("e" in r["found"] or "o" in r["found"] for r in rows) / 2
    for row in rows:
        assert row["found"] == re.findall("[aeiou]", row["completion"])
        assert row["documents"] == ["a" if vowel in "eo" else "" for vowel in row["found"]]


def test_each_sample_has_random_numbers_of_its_own(subject: EvaluatedModel, store: TokenStore) -> None:
    hot = GenerationSettings(max_new_tokens=12, temperature=1.0)
    task = PersonalData(kind="personal_data", prompts=("A queue",) * 3, generation=hot)
    texts = task.score(materials(subject, store)).items["completion"].to_pylist()
    assert len(set(texts)) == 3
    assert texts == task.score(materials(subject, store)).items["completion"].to_pylist()


def test_training_documents_are_begun(subject: EvaluatedModel, tmp_path: Path) -> None:
    ids = subject.tokenizer.encode("The reader opens a file and returns one line.")
    known = {"vocab_size": subject.tokenizer.vocab_size, "token_bytes": subject.tokenizer.token_bytes}
    store = TokenStore.open(write_store(tmp_path / "data", {"train": [ids, [], ids[:1]]}, **known))
    task = PersonalData(kind="personal_data", prompt_tokens=4, generation=GenerationSettings(max_new_tokens=4))
    prompts = task.score(materials(subject, store)).items["prompt"].to_pylist()
    assert prompts == [subject.tokenizer.decode(ids[:4]), subject.tokenizer.decode(ids[:1])]
    empty = TokenStore.open(write_store(tmp_path / "empty", {"test": [ids]}, **known))
    with pytest.raises(NothingLeft, match="no document that is long enough"):
        task.score(materials(subject, empty))
