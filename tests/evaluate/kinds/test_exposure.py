"""Exposure equals the value from ranking every secret, and the extrapolation is the tail of the skew-normal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bessemer.evaluate.canaries import invent
from bessemer.evaluate.evaluated_model import EvaluatedModel
from bessemer.evaluate.kinds import exposure as module
from bessemer.evaluate.kinds.exposure import Exposure, log2_below, score_canaries


@pytest.mark.parametrize(
    ("shape", "z", "expected"),
    [
        (0.0, -3.0, -9.53293385132495),
        (3.0, -4.0, -126.00143080138363),
        (-3.0, -4.0, -13.9464670377193),
        (1.5, -6.0, -93.54555997049181),
        (-5.0, 0.5, -0.0003941279842308988),
    ],
)
def test_the_tail_is_that_of_scipy(shape: float, z: float, expected: float) -> None:
    """Golden values: numpy.log2(scipy.stats.skewnorm(shape).cdf(z)), SciPy 1.17.1. The sample has the moments of the
    distribution."""
    delta = shape / math.sqrt(1 + shape**2)
    first, second = np.random.default_rng(0).standard_normal((2, 2_000_000))
    sample = delta * np.abs(first) + math.sqrt(1 - delta**2) * second
    assert log2_below(z, sample) == pytest.approx(expected, rel=0.02, abs=1e-4)


def test_a_sample_without_spread_tells_what_lies_below() -> None:
    assert log2_below(1.0, np.ones(10)) == 0.0
    assert log2_below(0.5, np.ones(10)) == -math.inf


def test_exposure_is_that_of_ranking_every_secret(subject: EvaluatedModel) -> None:
    """With three digits, all thousand secrets can be ranked. The exposures of eight canaries are near the exact
    values."""
    generator = np.random.default_rng(5)
    planted = [invent(generator, 1, template="The code of {name} is ", num_digits=3) for _ in range(8)]
    task = Exposure(kind="exposure", num_candidates=2000, num_controls=1)
    rows = score_canaries(task, subject, planted).items.to_pylist()
    every = [f"{number:03d}" for number in range(1000)]
    for row in rows[1:]:
        nats = -module._log_likelihoods(subject, row["sentence"], every)
        exact = math.log2(1000) - math.log2(1 + int((nats < nats[int(row["secret"])]).sum()))
        assert row["exposure"] == pytest.approx(exact, abs=0.4 if row["num_likelier"] > 40 else 2.0)


def test_scores_are_by_copies_beside_the_control(subject: EvaluatedModel) -> None:
    generator = np.random.default_rng(2)
    planted = [invent(generator, copies, template="{name}: ", num_digits=9) for copies in (1, 1, 4)]
    result = score_canaries(Exposure(kind="exposure", num_candidates=100, num_controls=3), subject, planted)
    assert [(s.metric, s.group, s.n) for s in result.scores] == [
        ("exposure", None, 3), ("control_exposure", None, 3),
        ("exposure", "copies 1", 2), ("exposure", "copies 4", 1),
    ]  # fmt: skip
    for row in result.items.to_pylist():
        (bits,) = [row[name] for name in ("exposure", "control_exposure") if row[name] is not None]
        assert 0 <= bits <= 9 * math.log2(10)
        assert (row["exposure"] is None) is (row["num_copies"] == 0)
