"""Samples continue held-out documents or the given prompts."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.token_store import write_store

from bessemer.errors import NothingLeft
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.samples import Samples
from bessemer.evaluate.materials import Materials
from bessemer.generate.settings import GenerationSettings
from bessemer.tokens.store import TokenStore

TASK = Samples(
    kind="samples", num_samples=3, prompt_tokens=4, generation=GenerationSettings(max_new_tokens=5, temperature=0)
)


def test_a_document_is_begun_and_its_own_continuation_stands_beside(subject: EvaluatedModel, store: TokenStore) -> None:
    rows = TASK.score(Materials(subject, store)).items.to_pylist()
    assert [row["url"] for row in rows] == ["file:0-0", "file:1-0", "file:1-6"]
    documents = {row["url"]: row for table in store.iter_rows("test") for row in table.to_pylist()}
    for row in rows:
        document = documents[row["url"]]
        text = subject.tokenizer.decode(store.read("test", document["start"], document["length"]))
        assert text.startswith(row["prompt"] + row["reference"])
        assert row["completion"] == subject.generator.generate([row["prompt"]], TASK.generation)[0].text


def test_prompts_can_be_given(subject: EvaluatedModel, store: TokenStore) -> None:
    rows = TASK.model_copy(update={"prompts": ("The", "A queue")}).score(Materials(subject, store)).items.to_pylist()
    assert [(row["prompt"], row["url"], row["reference"]) for row in rows] == [
        ("The", None, None),
        ("A queue", None, None),
    ]


def test_a_prompt_that_is_given_twice_has_two_samples(subject: EvaluatedModel) -> None:
    generation = GenerationSettings(max_new_tokens=8, temperature=1, top_p=1)
    task = Samples(kind="samples", prompts=("The", "The"), generation=generation)
    first, second = task.score(Materials(subject)).items["completion"].to_pylist()
    assert first != second


def test_short_documents_are_begun_in_their_middle(subject: EvaluatedModel, store: TokenStore) -> None:
    (row,) = (
        TASK.model_copy(update={"prompt_tokens": 500, "num_samples": 1})
        .score(Materials(subject, store))
        .items.to_pylist()
    )
    assert row["prompt"]
    assert row["reference"]


def test_a_split_without_documents_is_an_error(subject: EvaluatedModel, store: TokenStore) -> None:
    with pytest.raises(NothingLeft, match="`validation` of the tokens has no document"):
        TASK.model_copy(update={"split": "validation"}).score(Materials(subject, store))


def test_special_tokens_before_a_document_are_not_part_of_the_prompt(
    subject: EvaluatedModel, store: TokenStore, tmp_path: Path
) -> None:
    """A prompt with the text of BOS would be encoded as that text."""
    begin = subject.tokenizer.special_id("<|fim_prefix|>")
    assert begin is not None
    documents = [[begin, *subject.tokenizer.encode("The reader opens a file and reads it.")]]
    sizes = subject.tokenizer.token_bytes
    settings = {"vocab_size": len(sizes), "end_of_text_id": subject.tokenizer.end_of_text_id, "token_bytes": sizes}
    made = TokenStore.open(write_store(tmp_path / "store", {"test": documents}, **settings))
    (row,) = TASK.score(Materials(subject, made)).items.to_pylist()
    assert "The reader opens a file and reads it.".startswith(row["prompt"] + row["reference"])
    assert row["prompt"]
