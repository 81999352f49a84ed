"""A token store in object storage gives the same tokens as a local copy, reads by ranges, and survives failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.support.object_store import KEYS, ObjectStore, serve

from bessemer.errors import ArtifactDamaged, InputError, StorageError, UsageError
from bessemer.tokens import folders
from bessemer.tokens.store import TokenStore
from bessemer.tokens.writer import Tokenized, index_rows, write_meta, write_shard
from bessemer.train.objectives.causal import Causal
from bessemer.train.sampler import BatchSampler


@pytest.fixture
def local(tmp_path: Path) -> TokenStore:
    folder = tmp_path / "bucket" / "tokens"
    shards = []
    for number, count in enumerate((3000, 2000)):
        random = np.random.default_rng(number)
        lengths = np.full(count // 100, 100)
        names = [f"{number}-{i}" for i in range(len(lengths))]
        rows = index_rows(names, names, ["s"] * len(names), lengths, lengths)
        shards.append(write_shard(folder, "train", number, [Tokenized(random.integers(0, 60, count, "<u2"), rows)]))
    write_meta(folder, shards, vocab_size=60, end_of_text_id=0, token_bytes=np.ones(60, np.int32))
    return TokenStore.open(folder)


@pytest.fixture
def server(tmp_path: Path, local: TokenStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with serve(tmp_path / "bucket") as found:
        yield found


def test_ranges_are_the_tokens_of_the_folder(local: TokenStore, server: ObjectStore) -> None:
    remote = TokenStore.open(server.url())
    assert remote.meta == local.meta
    assert np.array_equal(remote.token_bytes, local.token_bytes)
    for start, count in ((0, 10), (2990, 20), (4990, 10), (0, 5000), (77, 0)):
        assert np.array_equal(remote.read("train", start, count), local.read("train", start, count))
    assert remote.rows_at("train", 2950, 100) == local.rows_at("train", 2950, 100)
    with pytest.raises(IndexError):
        remote.read("train", 4991, 10)


def test_a_batch_is_the_same_and_asks_for_its_own_bytes_only(local: TokenStore, server: ObjectStore) -> None:
    objectives = [Causal(s, length=32, seed=1, validation_tokens=0) for s in (local, TokenStore.open(server.url()))]
    rows = BatchSampler(objectives[0].num_rows, 40, seed=1).rows(3)
    objectives[1].batch(3, rows)  # opens the shards first
    server.bytes_sent.clear()
    here, there = (objective.batch(3, rows) for objective in objectives)
    assert all(bool((here[name] == there[name]).all()) for name in here)
    assert sum(server.bytes_sent) == 40 * 33 * 2


def test_a_server_that_fails_for_a_while_is_asked_again(
    local: TokenStore, server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = TokenStore.open(server.url())
    remote.read("train", 0, 1)
    server.failures = 2
    assert np.array_equal(remote.read("train", 5, 40), local.read("train", 5, 40))
    monkeypatch.setattr(folders, "ATTEMPTS", 1)
    server.failures = 10**6
    with pytest.raises(StorageError, match="does not answer"):
        remote.read("train", 5, 40)


def test_what_is_not_there_or_cut_short_or_no_url_is_said(server: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no tokens"):
        TokenStore.open(server.url("elsewhere"))
    with pytest.raises(InputError, match="ftp"):
        TokenStore.open("ftp://host/tokens")
    file = tmp_path / "bucket" / "tokens" / "train" / "00001.bin"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(ArtifactDamaged, match=r"00001\.bin` is missing or not 4000 bytes"):
        TokenStore.open(server.url()).read("train", 2990, 20)
