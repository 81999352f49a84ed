"""The token store returns the tokens that were written, also across shards, and finds the document of every token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.token_store import write_store

from bessemer.errors import ArtifactDamaged, UsageError
from bessemer.tokens.store import TokenStore, shard_name


@settings(deadline=None, max_examples=50)
@given(
    sequences=st.lists(st.lists(st.integers(1, 99), max_size=7), min_size=1, max_size=12),
    documents_per_shard=st.integers(1, 5),
    data=st.data(),
)
def test_reads_equal_the_concatenation_and_name_their_documents(
    tmp_path_factory: pytest.TempPathFactory,
    sequences: list[list[int]],
    documents_per_shard: int,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = TokenStore.open(
        write_store(folder, {"train": sequences}, vocab_size=100, documents_per_shard=documents_per_shard)
    )
    flat = np.concatenate([[*s, 0] for s in sequences])
    owner = np.concatenate([[i] * (len(s) + 1) for i, s in enumerate(sequences)])
    start = data.draw(st.integers(0, len(flat)))
    count = data.draw(st.integers(0, len(flat) - start))

    assert store.num_tokens("train") == len(flat)
    assert store.num_documents("train") == len(sequences)
    assert store.num_bytes("train") == sum(map(len, sequences))
    assert store.read("train", start, count).tolist() == flat[start : start + count].tolist()
    expected = [f"train-{i}" for i in dict.fromkeys(owner[start : start + count].tolist())]
    assert store.rows_at("train", start, count)["id"].to_pylist() == expected
    for row in store.rows_at("train", start, count).to_pylist():
        tokens = store.read("train", row["start"], row["length"])
        assert tokens[-1] == store.end_of_text_id
        assert tokens[:-1].tolist() == sequences[int(row["id"].split("-")[1])]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(1 << 16, "uint16"), ((1 << 16) + 1, "uint32")])
def test_the_largest_id_survives(tmp_path: Path, vocab_size: int, dtype: str) -> None:
    store = TokenStore.open(write_store(tmp_path, {"test": [[vocab_size - 1]]}, vocab_size=vocab_size))
    assert store.dtype == np.dtype(dtype)
    assert store.read("test", 0, 2).tolist() == [vocab_size - 1, 0]
    assert store.splits == ("test",)
    assert store.num_tokens("train") == 0


def test_positions_outside_the_split_are_refused(tmp_path: Path) -> None:
    store = TokenStore.open(write_store(tmp_path, {"train": [[1, 2]]}, vocab_size=3))
    for start, count in ((-1, 1), (0, 4), (3, 1)):
        with pytest.raises(IndexError):
            store.read("train", start, count)


def test_a_truncated_shard_is_named_before_it_is_read(tmp_path: Path) -> None:
    write_store(tmp_path, {"train": [[1, 2, 3]]}, vocab_size=4)
    path = tmp_path / shard_name("train", 0)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactDamaged, match=r"00000\.bin"):
        TokenStore.open(tmp_path).read("train", 0, 1)


def test_a_folder_without_tokens_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        TokenStore.open(tmp_path)
