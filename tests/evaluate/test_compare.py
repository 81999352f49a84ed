"""Differences between models: intervals have their coverage, p-values are exact, and false discoveries are rare."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.evaluate.compare import (
    COMPARISONS_SCHEMA,
    Comparison,
    compare,
    larger_than_noise,
    write_comparisons,
)
from bessemer.evaluate.measures import Measured


def measured(
    model: str, values: object, weights: object = None, *, metric: str = "acc", lower: bool = False
) -> Measured:
    above = np.asarray(values, np.float64)
    names = [str(i) for i in range(len(above))]
    below = np.ones(len(above)) if weights is None else np.asarray(weights)
    return Measured(model, "t", metric, names, above, below, lower_is_better=lower)


def one(*found: Measured, num_resamples: int = 4000, seed: int = 0) -> Comparison:
    (comparison,) = compare(found, num_resamples=num_resamples, seed=seed)
    return comparison


def test_p_is_that_of_all_swaps() -> None:
    """Eight items have 2^8 ways to swap the models. The share of swaps that are at least as extreme is the exact p."""
    a, b = np.array([0.1, 0.4, 0.2, 0.9, 0.3, 0.5, 0.6, 0.2]), np.array([0.3, 0.5, 0.7, 0.8, 0.6, 0.4, 0.9, 0.5])
    difference = b - a
    sums = [float(np.dot(signs, difference)) for signs in itertools.product((-1, 1), repeat=8)]
    exact = np.mean([abs(s) >= abs(difference.sum()) - 1e-12 for s in sums])
    assert one(measured("a", a), measured("b", b), num_resamples=40_000).p == pytest.approx(exact, abs=0.005)


def test_a_few_items_prove_nothing() -> None:
    found = one(measured("a", [0, 0, 0]), measured("b", [1, 1, 1]))
    assert found.p == pytest.approx(0.25, abs=0.03)
    assert not found.larger_than_noise


def test_the_standard_error_is_that_of_paired_differences() -> None:
    generator = np.random.default_rng(1)
    hard = generator.normal(size=400)
    a, b = hard + 0.1 * generator.normal(size=400), hard + 0.05 + 0.1 * generator.normal(size=400)
    found = one(measured("a", a), measured("b", b))
    assert found.standard_error == pytest.approx((b - a).std(ddof=1) / 20, rel=0.05)
    assert found.larger_than_noise
    assert found.low < found.difference < found.high
    assert found.difference == pytest.approx(float(b.mean() - a.mean()))


def test_the_interval_of_a_ratio_covers_what_is_true() -> None:
    """The documents differ much in length, and the second model is better by 0.1 per byte. Of the intervals, 95 %
    contain 0.1."""
    generator, covered = np.random.default_rng(2), 0
    for seed in range(200):
        sizes = generator.lognormal(5, 1, 60).round() + 1
        a = sizes * 2 + generator.normal(size=60) * sizes
        b = a - sizes * (0.1 + 0.2 * generator.normal(size=60))
        found = one(measured("a", a, sizes), measured("b", b, sizes), num_resamples=400, seed=seed)
        covered += found.low <= -0.1 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


def test_models_alike_are_seldom_called_different() -> None:
    """Over 200 pairs of equally good models on 100 questions, about 5 % have p below 0.05."""
    generator, called = np.random.default_rng(3), 0
    for seed in range(200):
        a, b = ((generator.random(100) < 0.4).astype(float) for _ in range(2))
        called += one(measured("a", a), measured("b", b), num_resamples=400, seed=seed).larger_than_noise
    assert called <= 20


def test_every_pair_is_compared_and_the_draws_follow_the_seed() -> None:
    values = np.random.default_rng(4).random((3, 50))
    models = [measured(name, row) for name, row in zip("abc", values, strict=True)]
    found = compare(models, num_resamples=200, seed=7)
    assert [(c.model_a, c.model_b) for c in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found == compare(models, num_resamples=200, seed=7)
    assert found != compare(models, num_resamples=200, seed=8)


def test_items_that_models_do_not_share_are_left_out() -> None:
    a = Measured("a", "t", "m", ["x", "y", "z"], np.array([1.0, 2.0, 3.0]), np.array([10.0, 10.0, 10.0]))
    b = Measured("b", "t", "m", ["z", "w", "x"], np.array([5.0, 9.0, 1.0]), np.array([10.0, 10.0, 8.0]))
    found = one(a, b)
    assert (found.n, found.value_a, found.value_b) == (1, 0.3, 0.5)


def test_models_that_differ_on_no_item_do_not_count_among_the_many() -> None:
    """One clear difference stays significant next to a hundred metrics on which both models give equal answers."""
    better = [measured("a", [0] * 12), measured("b", [1] * 9 + [0] * 3)]
    alike = [measured(model, [1, 0] * 6, metric=f"m{n}") for n in range(100) for model in "ab"]
    (alone,) = compare(better, num_resamples=4000, seed=0)
    found = compare([*better, *alike], num_resamples=4000, seed=0)
    assert found[0] == alone
    assert alone.larger_than_noise
    assert not any(one.larger_than_noise or one.p < 1 for one in found[1:])


def test_a_tie_is_half_a_win() -> None:
    assert one(measured("a", [0, 0.5, 1, 1]), measured("b", [1, 0.6, 1, 0])).win_rate == (1 + 1 + 0.5 + 0) / 4


def test_who_scores_less_wins_where_less_is_better() -> None:
    found = one(measured("a", [1, 1, 1], lower=True), measured("b", [0, 0, 2], lower=True))
    assert found.win_rate == pytest.approx(2 / 3)


def test_nothing_to_compare() -> None:
    assert compare([], num_resamples=10, seed=0) == []
    assert compare([measured("a", [1, 2])], num_resamples=10, seed=0) == []
    assert compare([measured("a", []), measured("b", [])], num_resamples=10, seed=0) == []


@given(st.lists(st.floats(0, 1), max_size=30))
def test_the_false_discovery_rate_is_held_as_its_definition_says(p: list[float]) -> None:
    chosen = larger_than_noise(np.array(p))
    ranked = sorted(p)
    limits = [value for rank, value in enumerate(ranked, start=1) if value <= 0.05 * rank / len(p)]
    assert chosen.tolist() == [value <= max(limits, default=-1) for value in p]


def test_parquet_and_json_hold_the_same_rows(tmp_path: Path) -> None:
    write_comparisons(tmp_path, [one(measured("a", [1, 2, 3]), measured("b", [2, 2, 2]))])
    table = pq.read_table(tmp_path / "comparisons.parquet")
    assert table.schema.equals(COMPARISONS_SCHEMA)
    assert table.to_pylist() == json.loads((tmp_path / "comparisons.json").read_text())
