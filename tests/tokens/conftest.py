"""A small tokenizer that several tests share."""

from __future__ import annotations

import pytest

from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.tokenizer import TokenizerFolder

CORPUS = [
    "The quick brown fox jumps over the lazy dog. The dog doesn't mind; it's 12345 years old.",
    "def mean(values):\n    return sum(values) / len(values)\n\n\nclass Vector:\n    pass\n",
    "Größe, naïve, Ελληνικά, русский текст, 日本語のテキスト, हिन्दी भाषा, العربية",
] * 5


@pytest.fixture(scope="session")
def trained_tokenizer() -> TokenizerFolder:
    return TokenizerFolder.trained(train_tokenizer(CORPUS, 600))
