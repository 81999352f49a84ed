"""canaries as a stage: no document is lost; planted documents are counted, found again, and depend on the seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.evaluate.canaries import read_canaries
from bessemer.stages import canaries

SMALL = canaries.Config(num_copies=(1, 3), num_canaries=2)


@pytest.fixture
def corpus(make_artifact: Callable[..., Any]) -> Artifact:
    draft, seal = make_artifact("documents")
    for part in range(2):
        rows = [
            {
                "id": f"{part}-{number}", "text": "text", "content_hash": "x", "url": f"file:{part}-{number}",
                "source": "books", "split": "test", "metadata": "{}",
            }
            for number in range(5)
        ]  # fmt: skip
        write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), draft.data / f"{part:05d}.parquet")
    return seal()


def planted(corpus: Artifact, make_artifact: Any, context: Any, name: str, config: Any = SMALL) -> Any:
    draft, seal = make_artifact("documents", name)
    canaries.run(config, {"documents": corpus}, draft, context)
    return draft, seal()


def test_what_came_in_goes_out_and_what_was_planted_was_created(
    corpus: Artifact, make_artifact: Any, make_context: Any
) -> None:
    draft, artifact = planted(corpus, make_artifact, make_context(), "planted")
    counts = draft.counts
    assert (counts.documents_in, counts.created, counts.documents_out, counts.removed) == (10, 8, 18, 0)
    for part in corpus.parts():
        assert pq.read_table(artifact.data / part.name).equals(pq.read_table(part))
    found = read_canaries(artifact.parts())
    assert [canary.num_copies for canary in found] == [1, 1, 3, 3]
    table = pa.concat_tables(pq.read_table(part) for part in artifact.parts())
    texts = Counter(table.filter(pa.compute.equal(table["source"], "canaries"))["text"].to_pylist())
    assert texts == {canary.text: canary.num_copies for canary in found}
    ledger = pa.concat_tables(pq.read_table(path) for path in sorted(artifact.ledger.iterdir()))
    assert sum(ledger["created"].to_pylist()) == 8
    assert set(ledger["verdict"].to_pylist()) == {"kept"}


def test_secrets_follow_the_seed_and_corpora_may_be_planted_twice(
    corpus: Artifact, make_artifact: Any, make_context: Any
) -> None:
    _, first = planted(corpus, make_artifact, make_context(seed=1), "first")
    _, again = planted(corpus, make_artifact, make_context(seed=1), "again")
    _, second = planted(first, make_artifact, make_context(seed=2), "second")
    secrets = [{canary.secret for canary in read_canaries(artifact.parts())} for artifact in (first, again, second)]
    assert secrets[0] == secrets[1] < secrets[2]
    assert len(secrets[2]) == 8


def test_a_sentence_without_a_name_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"lacks `\{name\}`"):
        canaries.Config(sentence="The code is ")
