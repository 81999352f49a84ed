"""mix: the shares come out, nothing is repeated or lost without a verdict, held-out text stays whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.artifacts.documents import SCHEMA, write_parquet
from bessemer.artifacts.store import Artifact
from bessemer.errors import NothingLeft, UsageError
from bessemer.stages import mix

COUNTS = {"domain": 400, "general": 3000}


@pytest.fixture
def corpora(make_artifact: Callable[..., Any]) -> dict[str, Artifact]:
    """Documents of 100 bytes; every tenth is held out. Both stages call their parts alike."""
    found = {}
    for name, count in COUNTS.items():
        draft, seal = make_artifact("documents", name)
        for part in range(2):
            rows = [
                {
                    "id": f"{name}-{part}-{number}", "text": name[0] * 100, "content_hash": "x",
                    "url": f"file:{part}-{number}", "source": name, "metadata": "{}",
                    "split": "test" if number % 10 == 0 else "validation" if number % 10 == 5 else "train",
                }
                for number in range(count // 2)
            ]  # fmt: skip
            write_parquet(pa.Table.from_pylist(rows, schema=SCHEMA), draft.data / f"{part:05d}.parquet")
        found[f"documents/{name}"] = seal()
    return found


def mixed(corpora: dict[str, Artifact], make_artifact: Any, context: Any, shares: Any, name: str = "mix") -> Any:
    draft, seal = make_artifact("documents", name)
    mix.run(mix.Config(shares=shares), corpora, draft, context)
    return draft, seal()


def read(artifact: Artifact) -> pa.Table:
    return pa.concat_tables(pq.read_table(part) for part in artifact.parts())


def test_the_scarce_corpus_is_taken_whole_and_the_other_drawn_to_its_share(
    corpora: dict[str, Artifact], make_artifact: Any, make_context: Any
) -> None:
    draft, artifact = mixed(corpora, make_artifact, make_context(), {"domain": 3, "general": 1})
    documents = read(artifact)
    train = documents.filter(pc.equal(documents["split"], "train"))
    sources = train["source"].to_pylist()
    assert sources.count("domain") == 320
    assert sources.count("general") == pytest.approx(107, abs=35)  # over three standard deviations of the drawing
    splits = [(row["source"], row["split"]) for row in documents.select(["source", "split"]).to_pylist()]
    assert splits.count(("domain", "validation")) == 40
    assert splits.count(("general", "validation")) < 40
    assert splits.count(("general", "test")) == COUNTS["general"] // 10
    assert len(set(documents["id"].to_pylist())) == len(documents)

    ledger = pa.concat_tables(pq.read_table(path) for path in sorted(artifact.ledger.iterdir()))
    assert len(ledger) == sum(COUNTS.values()) == draft.counts.documents_in
    removed = ledger.filter(pc.equal(ledger["verdict"], "removed"))
    assert set(removed["rule"].to_pylist()) == {mix.RULE}
    assert pc.all(pc.greater_equal(removed["value"], removed["threshold"])).as_py()
    assert draft.resolved["sampling_rates"] == {"domain": 1.0, "general": pytest.approx(320 / 3 / 2400)}


def test_the_drawing_follows_the_seed(corpora: dict[str, Artifact], make_artifact: Any, make_context: Any) -> None:
    ids = [
        set(read(mixed(corpora, make_artifact, make_context(seed=seed), {"domain": 1, "general": 1}, name)[1])["id"])
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    ]
    assert ids[0] == ids[1] != ids[2]


def test_shares_and_stages_belong_together(corpora: dict[str, Artifact], make_artifact: Any, make_context: Any) -> None:
    with pytest.raises(UsageError, match="`shares` names `domain`, `web`, and `from` `domain`, `general`"):
        mix.check(mix.Config(shares={"domain": 1, "web": 1}), corpora)
    mix.check(mix.Config(shares={"general": 1, "domain": 2}), corpora)


def test_a_corpus_that_is_cut_for_want_of_another_is_told_of(
    corpora: dict[str, Artifact], make_artifact: Any, make_context: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mixed(corpora, make_artifact, make_context(), {"general": 3, "domain": 1}, "cut")
    assert "uses only 40 % of `general`, because `domain` has too little text" in caplog.text


@given(
    sizes=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 10**12), min_size=2),
    data=st.data(),
)
def test_mixtures_have_their_shares_and_repeat_nothing(sizes: dict[str, int], data: st.DataObject) -> None:
    shares = {name: data.draw(st.floats(0.01, 100)) for name in sizes}
    rates = mix.sampling_rates(sizes, shares)
    assert max(rates.values()) == pytest.approx(1.0)
    assert all(0 < rate <= 1 + 1e-12 for rate in rates.values())
    taken = {name: rates[name] * sizes[name] for name in sizes}
    for name in sizes:
        assert taken[name] / sum(taken.values()) == pytest.approx(shares[name] / sum(shares.values()))


def test_a_stage_without_training_text_is_named() -> None:
    with pytest.raises(NothingLeft, match="`empty` has no text"):
        mix.sampling_rates({"empty": 0, "full": 1}, {"empty": 1, "full": 1})
