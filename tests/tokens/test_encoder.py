"""The encoder gives the ids of the tokenizers library for any text. The docstring of `encoder.py` gives its speed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from bessemer.tokens import encoder as encoder_module
from bessemer.tokens.encoder import Encoder
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.tokens.words import PATTERN, PIECE_LENGTH, SELF_CONTAINED_PATTERNS

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.sampled_from(
        ["word", "'ſ", "'S", "K", " ", "  ", "\n", "\r\n", "\x85", "\x1c", "12", "½", "...", "日本", "\u0301"]
    )
).map("".join)


def ids_of(encoder: Encoder, text: str) -> list[int]:
    return np.frombuffer(encoder.encode([text])[0], encoder.dtype).tolist()


@pytest.fixture(scope="module")
def fast(trained_tokenizer: TokenizerFolder) -> Encoder:
    return Encoder(trained_tokenizer)


@settings(deadline=None)
@given(text=texts)
def test_equal_to_the_library(fast: Encoder, text: str) -> None:
    assert fast._words is not None
    assert ids_of(fast, text) == fast.tokenizer.encode(text)


def test_equal_to_the_library_around_every_character(fast: Encoder) -> None:
    """The two engines use different versions of Unicode, but the ids must agree for every character.

    In the large blocks of ideographs and syllables, every 97th character is enough.
    """
    large = [range(0x3400, 0xD7A0), range(0x17000, 0x18D80), range(0x20000, 0x33500)]
    numbers = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    numbers = [c for c in numbers if c % 97 == 0 or not any(c in block for block in large)]
    characters = filter(regex.compile(r"[\p{L}\p{M}\p{N}\s]").match, map(chr, numbers))
    lines = [f"'{c}a{c}{c}1 {c} !!{c}" for c in characters]
    documents = ["".join(lines[i : i + 64]) for i in range(0, len(lines), 64)]
    found = [np.frombuffer(ids, fast.dtype).tolist() for ids in fast.encode(documents)]
    assert found == [fast.tokenizer.encode(document) for document in documents]
    assert fast._agreed > set("é日½\u0301")


@pytest.mark.parametrize("pattern", sorted(SELF_CONTAINED_PATTERNS - {PATTERN}))
def test_brought_patterns_are_recognised(trained_tokenizer: TokenizerFolder, pattern: str) -> None:
    description = json.loads(trained_tokenizer.tokenizer.to_str())
    description["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": pattern}
    tokenizer = TokenizerFolder(Tokenizer.from_str(json.dumps(description)), trained_tokenizer.settings, "changed")
    encoder = Encoder(tokenizer)
    assert encoder._words is not None
    text = "It's 1234567 हिन्दी  words \r\n\n (e\u0301)..."
    assert ids_of(encoder, text) == tokenizer.encode(text)


def test_real_text_of_many_scripts(dataset: Callable[[str], Path], fast: Encoder) -> None:
    for name in ("text_ja", "text_zh_d2l"):
        for path in sorted(dataset(name).rglob("*.*"))[:8]:
            text = path.read_text()[:30_000]
            assert ids_of(fast, text) == fast.tokenizer.encode(text)


def test_naughty_strings(dataset: Callable[[str], Path], fast: Encoder) -> None:
    path = next(dataset("bad_inputs").rglob("blns.txt"))
    for text in path.read_text().splitlines():
        assert ids_of(fast, text) == fast.tokenizer.encode(text)


def test_a_long_document_has_the_ids_of_the_library(fast: Encoder) -> None:
    text = "It's 12345 words, naïve ones;\n\n  and so on ... " * (3 * PIECE_LENGTH // 40)
    assert ids_of(fast, text) == fast.tokenizer.encode(text)


@pytest.mark.parametrize("unit", ["a", " ", "\n", "=", "日", "\u0301", "9"])
def test_an_endless_run_is_encoded_in_bounded_pieces_and_comes_back(fast: Encoder, unit: str) -> None:
    text = unit * (2 * PIECE_LENGTH + 7)
    assert fast.tokenizer.decode(ids_of(fast, text)) == text


def test_the_cache_is_bounded(trained_tokenizer: TokenizerFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "CACHED_CHARACTERS", 50)
    encoder = Encoder(trained_tokenizer)
    texts = [f"number {i} and its word w{i}x" for i in range(50)]
    assert [ids_of(encoder, text) for text in texts] == [trained_tokenizer.encode(text) for text in texts]
    assert sum(map(len, encoder._cache)) < 100


def test_a_tokenizer_with_other_rules_is_left_to_the_library(trained_tokenizer: TokenizerFolder) -> None:
    description = json.loads(trained_tokenizer.tokenizer.to_str())
    description["normalizer"] = {"type": "NFC"}
    normalising = TokenizerFolder(Tokenizer.from_str(json.dumps(description)), trained_tokenizer.settings, "nfc")
    encoder = Encoder(normalising)
    assert encoder._words is None
    assert ids_of(encoder, "e\u0301") == normalising.encode("é")
