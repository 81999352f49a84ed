"""A small random model with a tokenizer and a token store of a dozen documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.evaluate.tiny_model import make_tiny_model

from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.tokens.store import TokenStore
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.tokens.writer import Tokenized, index_rows, write_meta, write_shard

TEXTS = [
    f"{a} {b} {c}"
    for a, b, c in [
        ("The reader opens", "a file and", "returns one line."),
        ("The writer closes", "the file and", "flushes what is left, naïvely — 日本."),
        ("A queue holds", "items until", "somebody takes them."),
    ]
    * 4
]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluated")
    make_tiny_model(path, TEXTS, max_seq_length=24)
    return path


@pytest.fixture(scope="session")
def subject(model_folder: Path) -> EvaluatedModel:
    return EvaluatedModel.load(model_folder, dtype=torch.float32, device=torch.device("cpu"))


@pytest.fixture(scope="session")
def store_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The split `test`: the texts in two shards, with the sources `a` and `b` alternating."""
    tokenizer, path = TokenizerFolder.open(model_folder), tmp_path_factory.mktemp("tokens") / "data"
    shards = []
    for number, texts in enumerate((TEXTS[:5], TEXTS[5:])):
        encoded = [[*tokenizer.encode(text), tokenizer.end_of_text_id] for text in texts]
        names = [f"{number}-{i}" for i in range(len(texts))]
        rows = index_rows(
            names,
            [f"file:{name}" for name in names],
            ["ab"[i % 2] for i in range(len(texts))],
            np.array([len(ids) for ids in encoded]),
            np.array([len(text.encode()) for text in texts]),
        )
        shards.append(write_shard(path, "test", number, [Tokenized(np.concatenate(encoded).astype("<u2"), rows)]))
    write_meta(
        path,
        shards,
        vocab_size=tokenizer.vocab_size,
        end_of_text_id=tokenizer.end_of_text_id,
        token_bytes=tokenizer.token_bytes,
    )
    return path


@pytest.fixture
def store(store_folder: Path) -> TokenStore:
    return TokenStore.open(store_folder)
