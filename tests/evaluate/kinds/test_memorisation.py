"""Memorisation: the draw of texts, the count of their copies, and that one pass predicts greedy generation."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.token_store import write_store

from bessemer.errors import NothingLeft, UsageError
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds.memorisation import Memorisation, copies_range, count_copies, draw, window_hashes_of
from bessemer.evaluate.materials import Materials
from bessemer.generate.settings import GenerationSettings
from bessemer.tokens.store import TokenStore

SMALL = Memorisation(kind="memorisation", prefix_tokens=(3, 6), continuation_tokens=8, num_samples=40)


@pytest.fixture(scope="module")
def corpus(subject: EvaluatedModel, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Random documents of 20 tokens: 40 occur once, 10 three times, one 9 times. Of 30 held-out documents, 5 are
    copies."""
    generator = np.random.default_rng(0)
    texts = [generator.integers(1, 300, 20).tolist() for _ in range(81)]
    train = texts[:40] + texts[40:50] * 3 + [texts[50]] * 9
    folder = write_store(
        tmp_path_factory.mktemp("corpus") / "data",
        {"train": train, "test": [*texts[51:76], *texts[:5]]},
        vocab_size=subject.tokenizer.vocab_size,
        token_bytes=subject.tokenizer.token_bytes,
        documents_per_shard=17,
    )
    return TokenStore.open(folder)


@given(st.lists(st.lists(st.integers(1, 2), max_size=12), min_size=1, max_size=6), st.integers(1, 5))
def test_copies_are_counted_as_by_hand(documents: list[list[int]], length: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = TokenStore.open(write_store(Path(folder), {"train": documents}, vocab_size=5, documents_per_shard=2))
        stream = store.read("train", 0, store.num_tokens("train")).tolist()
        windows = [tuple(stream[i : i + length]) for i in range(len(stream) - length + 1)]
        wanted = sorted(set(windows)) or [(1,) * length]
        counts = count_copies(store, "train", window_hashes_of(np.array(wanted)), length)
        assert counts.tolist() == [windows.count(window) for window in wanted]


def test_texts_are_drawn_once_from_inside_documents_with_their_copies(corpus: TokenStore) -> None:
    drawn = draw(SMALL, corpus, "train")
    assert drawn.uniform.sum() == SMALL.num_samples
    assert set(map(copies_range, drawn.num_copies.tolist())) == {"1", "2-3", "8-15"}
    assert set(drawn.num_copies.tolist()) == {1, 3, 9}
    assert len({tuple(row[-8:]) for row in drawn.tokens.tolist()}) == len(drawn)
    assert not (drawn.tokens == corpus.end_of_text_id).any()
    for start, tokens in zip(drawn.start.tolist(), drawn.tokens, strict=True):
        assert len(corpus.rows_at("train", start, 14)) == 1
        assert np.array_equal(corpus.read("train", start, 14), tokens)


def test_the_control_stands_nowhere_in_the_training_split(corpus: TokenStore) -> None:
    drawn = draw(SMALL, corpus, "test")
    assert len(drawn) == SMALL.num_samples
    assert not drawn.num_copies.any()
    documents = {corpus.rows_at("test", start, 1)["id"][0].as_py() for start in drawn.start.tolist()}
    assert documents <= {f"test-{number}" for number in range(25)}


def test_one_pass_decides_what_greedy_writing_gives(corpus: TokenStore, subject: EvaluatedModel) -> None:
    items = SMALL.score(Materials(subject, corpus)).items.to_pylist()
    greedy = GenerationSettings(max_new_tokens=8, temperature=0)
    assert any(row["num_agreeing"] for row in items)
    for row in sorted(items, key=lambda row: -row["num_agreeing"])[:8] + items[:8]:
        start, prefix = int(row["id"].split(":")[1]), row["prefix_tokens"]
        tokens = corpus.read(row["split"], start, 14).tolist()
        (completion,) = subject.generator.complete([tokens[-8 - prefix : -8]], [greedy])
        pairs = zip(completion.tokens, tokens[-8:], strict=False)
        assert row["num_agreeing"] == next((i for i, (a, b) in enumerate(pairs) if a != b), len(completion.tokens))


def test_a_model_that_learnt_its_corpus_by_heart_is_found_out(corpus: TokenStore, subject: EvaluatedModel) -> None:
    """Copies are memorised first: after a short training the model knows texts with copies, later every text, and
    never the control."""
    rates = {}
    model = subject.model
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    tokens = torch.from_numpy(corpus.read("train", 0, corpus.num_tokens("train")).astype(np.int64))
    rows = tokens.reshape(-1, 21)
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for step in range(1, 151):
            window = rows[:, step % 7 : step % 7 + 14]
            (model(window[:, :-1], targets=window[:, 1:]) / window[:, 1:].numel()).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step in (25, 150):
                rates[step] = {(s.metric, s.group): s for s in SMALL.score(Materials(subject, corpus)).scores}
    finally:
        model.load_state_dict(before)
    for known in rates.values():
        assert known["held_out_extraction_rate", None].value == 0
        assert known["extraction_rate", None].n == known["held_out_extraction_rate", None].n == SMALL.num_samples
    early, last = rates[25], rates[150]
    assert last["extraction_rate", None].value > 0.9
    assert last["extraction_rate", "prefix 6"].value > last["extraction_rate", "prefix 3"].value
    assert early["extraction_rate", "copies 8-15"].value > early["extraction_rate", "copies 1"].value + 0.5


def test_what_cannot_be_measured_is_refused(corpus: TokenStore, subject: EvaluatedModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="longer than the model's context of 24"):
        Memorisation(kind="memorisation").score(Materials(subject, corpus))
    short = TokenStore.open(write_store(tmp_path / "short", {"train": [[1, 2, 3]]}, vocab_size=320))
    with pytest.raises(NothingLeft, match="no document of the split `train` has 15 tokens"):
        draw(SMALL, short, "train")
    text = list(range(1, 15))
    copied = TokenStore.open(write_store(tmp_path / "copied", {"train": [text], "test": [text]}, vocab_size=320))
    with pytest.raises(NothingLeft, match="every text of the split `test` is also in the training split"):
        draw(SMALL, copied, "test")


@pytest.mark.parametrize(
    ("count", "name"), [(1, "1"), (2, "2-3"), (3, "2-3"), (4, "4-7"), (8, "8-15"), (100, "64-127")]
)
def test_ranges_of_copies(count: int, name: str) -> None:
    assert copies_range(count) == name
