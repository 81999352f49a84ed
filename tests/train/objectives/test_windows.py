"""Windows cover every token of the ring, and rows, documents and steps can be mapped to each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.train.small_language import write_store

from bessemer.train.objectives.causal import Causal
from bessemer.train.objectives.windows import TrainingWindows, ValidationWindows
from bessemer.train.sampler import BatchSampler, Rows
from bessemer.train.trace import Trace

WITHOUT_DEADLINE = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def every_row(windows: TrainingWindows, epoch: int) -> Rows:
    return Rows(np.full(windows.num_rows, epoch), np.arange(windows.num_rows))


@WITHOUT_DEADLINE
@given(length=st.integers(1, 700), epoch=st.integers(0, 5), seed=st.integers(0, 100))
def test_an_epoch_is_the_ring_of_tokens_cut_into_windows(store, length, epoch, seed):
    """Concatenated, the inputs are the corpus from some origin on, without gaps. Targets are shifted by one token."""
    windows = TrainingWindows(store, "train", length, seed)
    total = store.num_tokens("train")
    found = windows.read(every_row(windows, epoch))
    assert found.shape == (total // length, length + 1)
    assert np.array_equal(found[:-1, -1], found[1:, 0])
    ring = np.concatenate([store.read("train", 0, total)] * 2).astype(np.int64)
    joined = np.append(found[:, :-1].ravel(), found[-1, -1])
    origins = np.flatnonzero(ring[:total] == joined[0])
    assert any(np.array_equal(np.resize(np.roll(ring[:total], -o), len(joined)), joined) for o in origins)


def test_epochs_are_cut_in_other_places(store):
    windows = TrainingWindows(store, "train", 16, seed=0)
    first = [windows.read(Rows(np.array([epoch]), np.array([0]))).tolist() for epoch in range(4)]
    assert len({str(row) for row in first}) == 4


@WITHOUT_DEADLINE
@given(length=st.integers(1, 80), limit=st.integers(1, 400))
def test_validation_windows_hold_every_target_once(store, length, limit):
    windows = ValidationWindows(store, "validation", length, limit)
    found = windows.read(0, windows.num_rows, padding=-1)
    targets = found[:, 1:][found[:, 1:] >= 0]
    assert windows.num_rows <= limit
    if windows.num_rows == -(-299 // length):
        assert np.array_equal(targets, store.read("validation", 1, 299))
    assert np.array_equal(found[1:3], windows.read(1, min(3, windows.num_rows), padding=-1))


def test_a_split_without_documents_has_no_rows(tmp_path: Path):
    store = write_store(tmp_path, tokens={"train": 100})
    assert Causal(store, length=10, seed=0, validation_tokens=100).num_validation_rows == 0


def test_padding_is_never_a_target(store):
    objective = Causal(store, length=128, seed=0, validation_tokens=1000)
    batch = objective.validation_batch(0, 3)
    assert (batch["targets"] == -100).sum() == 3 * 128 - 299
    assert batch["tokens"].min() >= 0
    assert torch.equal(
        batch["tokens"][:, 1:][batch["targets"][:, :-1] >= 0], batch["targets"][:, :-1][batch["targets"][:, :-1] >= 0]
    )


def trace_of(store, *, length, num_steps):
    plan = {"max_seq_length": length, "global_batch_size": 8, "seed": 3, "num_steps": num_steps}
    return Trace.of(store, plan)


@pytest.mark.parametrize("length", [7, 16, 100])
def test_documents_and_steps_lead_to_each_other(store, length):
    num_steps = 2 * (1500 // length) // 8 + 1
    trace = trace_of(store, length=length, num_steps=num_steps)
    steps = {step: {row["id"] for row in trace.documents_of(step)} for step in range(1, num_steps + 1)}
    assert set().union(*steps.values()) == {f"train-{number}" for number in range(38)}
    for document in ("train-0", "train-17", "train-37"):
        assert trace.steps_of(document) == [step for step in steps if document in steps[step]]
    assert trace.steps_of("unheard-of") == []


def test_the_documents_of_a_step_are_those_of_its_tokens(store):
    windows = TrainingWindows(store, "train", 16, seed=3)
    rows = BatchSampler(windows.num_rows, 8, seed=3).rows(2)
    tokens = store.read("train", 0, 1500).astype(np.int64)
    ring = np.concatenate([tokens, tokens])
    owners = set()
    for row in windows.read(rows):
        starts = [s for s in range(1500) if np.array_equal(ring[s : s + 17], row)]
        assert starts
        if len(starts) == 1:
            owners |= {f"train-{(starts[0] + k) % 1500 // 40}" for k in range(17)}
    assert owners <= {row["id"] for row in trace_of(store, length=16, num_steps=9).documents_of(2)}
