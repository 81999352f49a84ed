"""A document of a token store has the tokens that its tokenizer gives a text, BOS included, and one end of text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import transformers

from bessemer.artifacts.documents import SCHEMA
from bessemer.tokens.encoder import Encoder
from bessemer.tokens.special import END_OF_TEXT
from bessemer.tokens.tokenize import tokenize_documents
from bessemer.tokens.tokenizer import TokenizerFolder

BEGIN = "<|fim_prefix|>"
TEXTS = ["The quick brown fox.", "It doesn't mind.", f"A text that writes {BEGIN} and {END_OF_TEXT}."]


def folder_with(tokenizer: TokenizerFolder, folder: Path, first: str | None) -> TokenizerFolder:
    """The tokenizer with a post-processor that puts `first` before a text, as Llama 3's does."""
    tokenizer.save(folder)
    if first is not None:
        token = {"id": first, "ids": [tokenizer.special_id(first)], "tokens": [first]}
        whole = [{"SpecialToken": {"id": first, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
        processor = {"type": "TemplateProcessing", "single": whole, "special_tokens": {first: token}}
        processor["pair"] = [*whole, {"Sequence": {"id": "B", "type_id": 1}}]
        file = folder / "tokenizer.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"post_processor": processor}))
    return TokenizerFolder.open(folder)


def tokenized(tokenizer: TokenizerFolder) -> tuple[list[int], pa.Table]:
    rows = [
        {"id": str(n), "text": text, "content_hash": "", "url": str(n), "source": "a", "split": "train"}
        | {"metadata": "{}"}
        for n, text in enumerate(TEXTS)
    ]
    splits, ledger = tokenize_documents(pa.Table.from_pylist(rows, schema=SCHEMA), Encoder(tokenizer))
    assert ledger["signals"].to_pylist()[0]["num_tokens"] == splits["train"].rows["length"][0].as_py()
    return splits["train"].tokens.tolist(), splits["train"].rows


@pytest.mark.parametrize("first", [BEGIN, None])
def test_documents_are_those_of_transformers_with_an_end(
    trained_tokenizer: TokenizerFolder, tmp_path: Path, first: str | None
) -> None:
    tokenizer = folder_with(trained_tokenizer, tmp_path, first)
    tokens, rows = tokenized(tokenizer)
    stock: Any = transformers.AutoTokenizer.from_pretrained(tmp_path)
    expected = [[*stock(text, split_special_tokens=True).input_ids, tokenizer.end_of_text_id] for text in TEXTS]
    assert tokens == [token for ids in expected for token in ids]
    assert rows["length"].to_pylist() == [len(ids) for ids in expected]
    assert (expected[0][0] == tokenizer.special_id(BEGIN)) == (first is not None)
    assert rows["num_bytes"].to_pylist() == [len(text.encode()) for text in TEXTS]


def test_the_end_of_text_before_a_text_is_not_doubled(trained_tokenizer: TokenizerFolder, tmp_path: Path) -> None:
    tokenizer = folder_with(trained_tokenizer, tmp_path, END_OF_TEXT)
    assert tokenizer.begin_ids == (tokenizer.end_of_text_id,)
    assert tokenized(tokenizer)[0].count(tokenizer.end_of_text_id) == len(TEXTS)
