"""The sampler's order of rows is complete, seeded, and the same on any number of workers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.train.sampler import BatchSampler, Permutation

sizes = st.integers(1, 3000)
seeds = st.integers(0, 2**63)


@settings(deadline=None)
@given(size=sizes, key=st.tuples(seeds, st.integers(0, 10)))
def test_a_permutation_takes_every_position_once_and_back(size, key):
    permutation = Permutation(size, key)
    positions = np.arange(size)
    values = permutation.forward(positions)
    assert sorted(values) == list(range(size))
    assert np.array_equal(permutation.backward(values), positions)


@settings(deadline=None)
@given(num_rows=st.integers(1, 60), batch_size=st.integers(1, 64), seed=seeds)
def test_each_epoch_sees_each_row_exactly_once(num_rows, batch_size, seed):
    sampler = BatchSampler(num_rows, batch_size, seed)
    steps = -(-3 * num_rows // batch_size)
    batches = [sampler.rows(step) for step in range(1, steps + 1)]
    epoch = np.concatenate([rows.epoch for rows in batches])
    index = np.concatenate([rows.index for rows in batches])
    for number in range(3):
        assert sorted(index[epoch == number]) == list(range(num_rows))


@settings(deadline=None)
@given(seed=seeds, workers=st.sampled_from([1, 2, 3, 4, 6, 12]), step=st.integers(1, 1000))
def test_the_parts_of_the_workers_make_up_the_batch(seed, workers, step):
    rows = BatchSampler(1000, 12, seed).rows(step)
    parts = [rows.part(number, workers) for number in range(workers)]
    assert np.array_equal(np.concatenate([part.index for part in parts]), rows.index)
    assert np.array_equal(np.concatenate([part.epoch for part in parts]), rows.epoch)


@settings(deadline=None)
@given(
    num_rows=st.integers(1, 100), batch_size=st.integers(1, 20), repeats=st.integers(1, 4), seed=seeds, data=st.data()
)
def test_from_rows_back_to_the_steps_that_took_them(num_rows, batch_size, repeats, seed, data):
    sampler = BatchSampler(num_rows, batch_size, seed, repeats)
    batch = data.draw(st.integers(0, 50))
    steps = [batch * repeats + 1 + number for number in range(repeats)]
    rows = sampler.rows(steps[0])
    for step in steps:
        assert np.array_equal(sampler.rows(step).index, BatchSampler(num_rows, batch_size, seed).rows(batch + 1).index)
    one = data.draw(st.integers(0, batch_size - 1))
    assert sampler.steps_of(rows).tolist() == steps
    assert sampler.steps_of(rows[one : one + 1]).tolist() == steps


def test_the_order_never_changes():
    """Golden values, recorded from this call. A change of the order would break every unfinished run."""
    rows = BatchSampler(1000, 8, seed=7).rows(125)
    assert rows.epoch.tolist() == [0] * 8
    assert rows.index.tolist() == [448, 692, 385, 301, 431, 938, 877, 632]
    assert BatchSampler(10, 8, seed=7).rows(2).epoch.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_every_epoch_and_seed_of_a_run_has_another_order():
    """Each step covers one epoch, so the rows of a step are the order of its epoch."""
    orders = {tuple(BatchSampler(40, 40, seed).rows(step).index) for seed in (0, 1, 2) for step in (1, 2, 3)}
    assert len(orders) == 9


def test_orders_of_epochs_and_seeds_are_unlike():
    orders = [Permutation(10_000, (seed, epoch)).forward(np.arange(10_000)) for seed in (0, 1) for epoch in (0, 1)]
    for number, one in enumerate(orders):
        for other in orders[:number]:
            assert np.mean(one == other) < 0.002
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


@pytest.mark.parametrize("size", [100, 1000, 65_536])
def test_an_order_is_spread_evenly(size):
    """The first tenth of an epoch contains a tenth of each quarter of the corpus, up to random variation."""
    first = Permutation(size, (3, 0)).forward(np.arange(size // 10))
    counts = np.histogram(first, bins=4, range=(0, size))[0]
    assert np.abs(counts - size / 40).max() < 5 * (size / 40) ** 0.5
