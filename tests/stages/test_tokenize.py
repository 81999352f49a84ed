"""tokenize: documents in, token shards out; every document has tokens or a verdict, and equal input is equal bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.errors import NothingLeft
from bessemer.fingerprint import content_hash, origin_id
from bessemer.stages import tokenize, tokenizer
from bessemer.tokens.store import TokenStore
from bessemer.tokens.tokenizer import TokenizerFolder

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def documents(texts: list[tuple[str, str]], first: int = 0) -> pa.Table:
    rows = [
        {
            "id": origin_id("test", str(first + number)),
            "text": text,
            "content_hash": content_hash(text),
            "url": f"file:{first + number}.txt",
            "source": "test",
            "split": split,
            "metadata": "{}",
        }
        for number, (split, text) in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.fixture
def corpus(make_artifact: Callable[..., Any]) -> Artifact:
    """Two parts; the second has no validation document and one that is blank."""
    draft, seal = make_artifact("documents")
    first = [("train", " ".join(WORDS[i % 12 :] + WORDS[: i % 12])) for i in range(14)]
    first.append(("validation", "ten two <|endoftext|>"))
    write_parquet(documents(first), draft.data / "00000.parquet")
    write_parquet(
        documents([("train", "α β γ"), ("train", " \n\t"), ("test", "two ten")], 15), draft.data / "00001.parquet"
    )
    return seal()


@pytest.fixture
def trained(corpus: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]) -> Artifact:
    draft, seal = make_artifact("tokenizer")
    tokenizer.run(tokenizer.Config(vocab_size=512), {"documents": corpus}, draft, make_context())
    return seal()


def tokenized(make_artifact: Callable[..., Any], context: Any, inputs: dict[str, Artifact], name: str) -> Any:
    draft, seal = make_artifact("tokens", name)
    tokenize.run(tokenize.Config(), inputs, draft, context)
    return draft, seal()


def test_every_document_has_its_tokens_or_a_verdict(
    corpus: Artifact, trained: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    inputs = {"documents": corpus, "tokenizer": trained}
    draft, artifact = tokenized(make_artifact, make_context(), inputs, "tokenize")
    store, folder = TokenStore.open(artifact.path), TokenizerFolder.open(trained.path)

    texts = {}
    for split in store.splits:
        for rows in store.iter_rows(split):
            for row in rows.to_pylist():
                ids = store.read(split, row["start"], row["length"])
                assert ids[-1] == store.end_of_text_id
                texts[row["id"]] = folder.decode(ids[:-1])
                assert row["num_bytes"] == len(texts[row["id"]].encode()) == store.token_bytes[ids].sum()
    table = pa.concat_tables([pq.read_table(path) for path in corpus.parts()])
    ledger = pa.concat_tables([pq.read_table(path) for path in sorted(artifact.ledger.glob("*.parquet"))])
    assert ledger["id"].to_pylist() == table["id"].to_pylist()
    for row, verdict in zip(table.to_pylist(), ledger.to_pylist(), strict=True):
        if row["text"].strip():
            assert (verdict["verdict"], texts[row["id"]]) == ("kept", row["text"])
        else:
            assert (verdict["verdict"], verdict["rule"]) == ("removed", "empty")
    assert draft.counts.documents_in == 18
    assert draft.counts.documents_out == 17
    assert draft.counts.removed_by_rule == {"empty": 1}
    assert draft.metrics["data/tokens"] == sum(store.num_tokens(split) for split in store.splits)


def test_golden_tokens(
    corpus: Artifact, trained: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    """Other bytes need a new version of the stage `tokenize` (or `tokenizer`); then put the new hashes here."""
    _, artifact = tokenized(make_artifact, make_context(), {"documents": corpus, "tokenizer": trained}, "golden")
    found = {name: digest[:16] for name, digest in _digests(artifact.path).items() if name.endswith((".bin", ".npy"))}
    assert found == {
        "data/test/00001.bin": "f56d46c3944c2d46",
        "data/token_bytes.npy": "98e2d616dfc9cac9",
        "data/train/00000.bin": "acd2d2f84c90ae3d",
        "data/train/00001.bin": "9fb0eefd641d4b7d",
        "data/validation/00000.bin": "3c371f5a11eb10ac",
    }


def test_an_interrupted_stage_continues_to_the_same_bytes(
    corpus: Artifact, trained: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    inputs = {"documents": corpus, "tokenizer": trained}
    _, whole = tokenized(make_artifact, make_context(), inputs, "whole")
    draft, seal = make_artifact("tokens", "interrupted")

    class Killed(Exception):
        pass

    def killed_after_one(done: int, total: int, unit: str, **facts: object) -> None:
        if done == 1:
            raise Killed

    with pytest.raises(Killed):
        tokenize.run(tokenize.Config(), inputs, draft, make_context(progress=killed_after_one))
    tokenize.run(tokenize.Config(), inputs, draft, make_context())
    assert _digests(seal().path) == _digests(whole.path)


def test_nothing_left_is_said_and_not_written(
    trained: Artifact, make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    draft, seal = make_artifact("documents", "blank")
    write_parquet(documents([("train", "  ")]), draft.data / "00000.parquet")
    with pytest.raises(NothingLeft):
        tokenized(make_artifact, make_context(), {"documents": seal(), "tokenizer": trained}, "nothing")


def _digests(folder: Path) -> dict[str, str]:
    files = [p for part in ("data", "ledger") for p in sorted((folder / part).rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
