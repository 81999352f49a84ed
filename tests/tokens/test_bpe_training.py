"""Training a tokenizer: the sample depends on document ids only, and the result depends on the sample only."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.tokens.bpe_training import sample_texts, train_tokenizer
from bessemer.tokens.special import SPECIAL_TOKENS
from bessemer.tokens.tokenizer import TokenizerFolder

PROGRAM = """
import hashlib, random
from bessemer.tokens import parallelism
from bessemer.tokens import bpe_training
if {one_thread}:
    parallelism._VARIABLE = "NOT_READ"
letters = random.Random(0)
texts = [" ".join("".join(letters.choices("abcdeé日", k=letters.randint(1, 6))) for _ in range(40)) for _ in range(400)]
print(hashlib.sha256(bpe_training.train_tokenizer(texts, 800).to_str().encode()).hexdigest())
"""


def table(documents: list[tuple[str, str, str]]) -> pa.Table:
    ids, texts, splits = map(list, zip(*documents, strict=True)) if documents else ([], [], [])
    return pa.table(
        {"id": ids, "text": texts, "split": splits},
        schema=pa.schema([("id", pa.string()), ("text", pa.large_string()), ("split", pa.string())]),
    )


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 30), max_size=20), budget=st.integers(240, 600), data=st.data())
def test_the_sample_does_not_depend_on_how_the_corpus_is_cut_or_ordered(
    sizes: list[int], budget: int, data: st.DataObject
) -> None:
    documents = [(f"id{number}", "é" * size, "train") for number, size in enumerate(sizes)]
    documents.append(("other", "x", "test"))
    whole = sample_texts([table(documents)], budget)
    shuffled = data.draw(st.permutations(documents))
    cut = data.draw(st.integers(0, len(shuffled)))
    assert sample_texts([table(shuffled[:cut]), table(shuffled[cut:])], budget) == whole
    assert sum(len(text.encode()) for text in whole) <= budget
    assert "x" not in whole
    if sum(2 * size for size in sizes) <= budget:
        assert sorted(whole) == sorted("é" * size for size in sizes)


def test_training_is_the_same_in_every_process_with_any_number_of_threads() -> None:
    def run(one_thread: bool) -> str:
        environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
        program = [sys.executable, "-c", PROGRAM.format(one_thread=one_thread)]
        return subprocess.run(program, capture_output=True, text=True, check=True, env=environment).stdout

    assert run(one_thread=True) == run(one_thread=False)


def test_special_tokens_have_the_first_ids_and_every_byte_a_token(trained_tokenizer: TokenizerFolder) -> None:
    assert [trained_tokenizer.special_id(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    assert sorted(trained_tokenizer.token_bytes)[: len(SPECIAL_TOKENS) + 1] == [0] * len(SPECIAL_TOKENS) + [1]


def test_no_word_is_learnt_that_crosses_the_line(trained_tokenizer: TokenizerFolder) -> None:
    tokens = [trained_tokenizer.decode([index]) for index in range(len(SPECIAL_TOKENS), trained_tokenizer.vocab_size)]
    assert " dog" in tokens
    assert not [token for token in tokens if " " in token.strip()]
    assert not [token for token in tokens if token.isdigit() and len(token) > 3]


def test_a_run_of_one_megabyte_trains_in_bounded_work() -> None:
    tokenizer = train_tokenizer(["ab" * 500_000, "=" * 1_000_000], 300)
    assert len(tokenizer.encode("ab" * 200).ids) < 400


def test_golden_bytes(trained_tokenizer: TokenizerFolder) -> None:
    """If the bytes change, bump the version of the stage `tokenizer` and put the new hash here."""
    text = trained_tokenizer.tokenizer.to_str()
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "11100594e8b2efa4"
