"""Bits per byte and perplexity equal a direct computation with `transformers`, token by token."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers

from bessemer.errors import NothingLeft, UsageError
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds import bits_per_byte as module
from bessemer.evaluate.kinds.bits_per_byte import BitsPerByte
from bessemer.evaluate.materials import Materials
from bessemer.evaluate.scores import Score
from bessemer.tokens.store import TokenStore

CONTEXT = 24


def direct(folder: Path, store: TokenStore, stride: int) -> np.ndarray:
    """Nats of every token except the first, each from the window that scores it."""
    stock = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokens = torch.from_numpy(store.read("test", 0, store.num_tokens("test")).astype(np.int64))
    nats = np.full(len(tokens), np.nan)
    scored = 1
    for start in range(0, len(tokens), stride):
        window = tokens[start : start + CONTEXT + 1]
        if scored >= start + len(window):
            break
        with torch.no_grad():
            logs = torch.log_softmax(stock(window[None, :-1]).logits[0].double(), -1)
        for place in range(scored, start + len(window)):
            nats[place] = -logs[place - start - 1, tokens[place]]
        scored = start + len(window)
    assert not np.isnan(nats[1:]).any()
    return nats


def score(scores: list[Score], metric: str, group: str | None = None) -> Score:
    (found,) = [s for s in scores if s.metric == metric and s.group == group]
    return found


@pytest.mark.parametrize("stride", [None, 7, CONTEXT], ids=["end to end", "overlapping", "end to end, said"])
@pytest.mark.parametrize("batch", [1, 100, 8192])
def test_every_token_is_predicted_once_as_transformers_predicts_it(
    monkeypatch: pytest.MonkeyPatch,
    model_folder: Path,
    subject: EvaluatedModel,
    store: TokenStore,
    stride: int | None,
    batch: int,
) -> None:
    monkeypatch.setattr(module, "BATCH_TOKENS", batch)
    result = BitsPerByte(kind="bits_per_byte", stride=stride).score(Materials(subject, store))

    nats = direct(model_folder, store, stride or CONTEXT)
    tokens = store.read("test", 0, store.num_tokens("test"))
    sizes = store.token_bytes[tokens]
    counted = (sizes > 0) & (np.arange(len(tokens)) > 0)
    whole = score(result.scores, "bits_per_byte")
    assert whole.value == pytest.approx(nats[counted].sum() / math.log(2) / sizes[counted].sum(), rel=1e-5)
    assert score(result.scores, "perplexity").value == pytest.approx(math.exp(nats[counted].mean()), rel=1e-5)

    rows = result.items.to_pylist()
    assert len(rows) == whole.n == store.num_documents("test")
    starts = np.concatenate([t["start"].to_numpy() for t in store.iter_rows("test")])
    for row, start, end in zip(rows, starts, [*starts[1:], len(tokens)], strict=True):
        inside = counted[start:end]
        assert row["nats"] == pytest.approx(nats[start:end][inside].sum(), rel=1e-4)
        assert (row["num_tokens"], row["num_bytes"]) == (inside.sum(), sizes[start:end][inside].sum())


def test_sources_are_scored_apart(subject: EvaluatedModel, store: TokenStore) -> None:
    result = BitsPerByte(kind="bits_per_byte").score(Materials(subject, store))
    for source in ("a", "b"):
        rows = [row for row in result.items.to_pylist() if row["source"] == source]
        found = score(result.scores, "bits_per_byte", source)
        expected = sum(r["nats"] for r in rows) / math.log(2) / sum(r["num_bytes"] for r in rows)
        assert (found.value, found.n) == (pytest.approx(expected), len(rows))


@pytest.mark.parametrize("stride", [None, 7], ids=["end to end", "overlapping"])
def test_chosen_sources_are_scored_as_among_all(subject: EvaluatedModel, store: TokenStore, stride: int | None) -> None:
    whole = BitsPerByte(kind="bits_per_byte", stride=stride).score(Materials(subject, store))
    for source in ("a", "b"):
        alone = BitsPerByte(kind="bits_per_byte", stride=stride, sources=(source,)).score(Materials(subject, store))
        expected = whole.items.filter(pa.compute.equal(whole.items["source"], source))
        assert alone.items.drop_columns("nats").equals(expected.drop_columns("nats"))
        assert alone.items["nats"].to_pylist() == pytest.approx(expected["nats"].to_pylist(), rel=1e-5)


def test_windows_may_be_shorter_than_the_context(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, subject: EvaluatedModel, store: TokenStore
) -> None:
    """The windows equal those of a model with that context. A window is never longer than the model's context."""
    short = BitsPerByte(kind="bits_per_byte", max_seq_length=10).score(Materials(subject, store))
    monkeypatch.setattr(sys.modules[__name__], "CONTEXT", 10)
    nats = direct(model_folder, store, 10)
    tokens = store.read("test", 0, store.num_tokens("test"))
    counted = (store.token_bytes[tokens] > 0) & (np.arange(len(tokens)) > 0)
    assert sum(short.items["nats"].to_pylist()) == pytest.approx(nats[counted].sum(), rel=1e-5)
    whole, longer = (
        BitsPerByte(kind="bits_per_byte", max_seq_length=length).score(Materials(subject, store))
        for length in (None, 10_000)
    )
    assert longer.items.equals(whole.items)


def test_windows_are_those_that_score_a_document() -> None:
    """Compared with the targets of each window, for every stride, length and position."""
    total = 40
    for length in (3, 8):
        for stride in range(1, length + 1):
            available = 1 + -(-max(0, total - 1 - length) // stride)
            scored = [
                {*range(1 if n == 0 else n * stride + length - stride + 1, min(total, n * stride + length + 1))}
                for n in range(available)
            ]
            for start, size in ((0, 1), (0, 5), (7, 1), (10, 20), (39, 1), (0, 40)):
                documents = pa.table({"start": [start], "length": [size]})
                expected = [n for n, targets in enumerate(scored) if targets & {*range(start, start + size)}]
                found = module._windows_of(documents, total, length, stride).tolist()
                assert found == (expected or [0])  # the first token is never predicted and belongs to window 0


def test_a_source_that_is_not_there_is_named_with_those_that_are(subject: EvaluatedModel, store: TokenStore) -> None:
    with pytest.raises(UsageError, match="`sources` names `c`") as raised:
        BitsPerByte(kind="bits_per_byte", sources=("c",)).score(Materials(subject, store))
    assert raised.value.hint == "its sources are: a, b"


def test_hosts_are_scored_apart_where_the_source_is_another() -> None:
    """The hosts with the most bytes have scores. URLs without a host, and hosts that are sources, have none."""
    urls = [f"https://{host}/page" for host in ("a.org", "b.org", "a.org", "c.org")] + ["file:x", "https://s/1"]
    items = pa.table({"url": urls, "num_bytes": [1, 9, 1, 1, 50, 50]})
    found = {group: chosen.tolist() for group, chosen in module._by_host(items, {"s"})}
    assert list(found) == ["a.org", "b.org", "c.org"]
    assert found["a.org"] == [True, False, True, False, False, False]


def test_a_limit_takes_evenly_spread_windows(subject: EvaluatedModel, store: TokenStore) -> None:
    result = BitsPerByte(kind="bits_per_byte", num_tokens=3 * CONTEXT).score(Materials(subject, store))
    assert 2 * CONTEXT < sum(result.items["num_tokens"].to_pylist()) <= 3 * CONTEXT
    assert len(result.items) > 3


def test_the_standard_error_is_that_of_drawing_documents_anew(subject: EvaluatedModel, store: TokenStore) -> None:
    """The delta method agrees with a bootstrap over documents."""
    result = BitsPerByte(kind="bits_per_byte").score(Materials(subject, store))
    bits = result.items["nats"].to_numpy() / math.log(2)
    sizes = result.items["num_bytes"].to_numpy()
    draws = np.random.default_rng(0).integers(0, len(bits), (4000, len(bits)))
    bootstrap = (bits[draws].sum(1) / sizes[draws].sum(1)).std() * math.sqrt(len(bits) / (len(bits) - 1))
    assert score(result.scores, "bits_per_byte").standard_error == pytest.approx(bootstrap, rel=0.1)


def test_what_cannot_be_measured_is_an_error(subject: EvaluatedModel, store: TokenStore) -> None:
    with pytest.raises(NothingLeft, match="`validation` of the tokens has no text"):
        BitsPerByte(kind="bits_per_byte", split="validation").score(Materials(subject, store))
    with pytest.raises(UsageError, match="`stride` is 25"):
        BitsPerByte(kind="bits_per_byte", stride=25).score(Materials(subject, store))
    store.__dict__["token_bytes"] = store.token_bytes + 1
    with pytest.raises(UsageError, match="another tokenizer"):
        BitsPerByte(kind="bits_per_byte").score(Materials(subject, store))
