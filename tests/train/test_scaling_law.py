"""The fit recovers the law that generated the losses, and predicts losses at other compute budgets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.train.scaling_law import ScalingLaw, fit, leave_one_out

COMPUTE = [10.0**power for power in (14.0, 14.6, 15.1, 15.8, 16.4)]
LAWS = st.builds(
    lambda irreducible, share, exponent: ScalingLaw(irreducible, share * COMPUTE[2] ** exponent, exponent),
    st.floats(0.1, 3.0),
    st.floats(0.2, 3.0),
    st.floats(0.05, 0.4),
)


@given(LAWS)
def test_exact_losses_give_back_their_law(law: ScalingLaw) -> None:
    found = fit(COMPUTE, [law.loss(c) for c in COMPUTE])
    for compute in (*COMPUTE, 1e17, 1e18):
        assert found.loss(compute) == pytest.approx(law.loss(compute), rel=2e-3)
    assert found.exponent == pytest.approx(law.exponent, rel=0.05)


@given(LAWS)
def test_units_of_compute_and_order_do_not_matter(law: ScalingLaw) -> None:
    losses = [law.loss(c) * (1 + 0.003 * (-1) ** i) for i, c in enumerate(COMPUTE)]
    found = fit(COMPUTE, losses)
    other = fit([c * 1e3 for c in reversed(COMPUTE)], losses[::-1])
    assert other.loss(1e20) == pytest.approx(found.loss(1e17), rel=1e-4)


def test_noise_moves_the_prediction_by_as_much() -> None:
    """Losses with 0.5 % noise predict the loss at 25 times the compute within 6 %."""
    law, far = ScalingLaw(0.9, 30.0, 0.1), COMPUTE[-1] * 25
    random = np.random.default_rng(0)
    for _ in range(50):
        losses = [law.loss(c) * (1 + random.normal(0, 0.005)) for c in COMPUTE]
        assert fit(COMPUTE, losses).loss(far) == pytest.approx(law.loss(far), rel=0.06)
        assert all(0.8 < other / law.loss(far) < 1.2 for other in leave_one_out(COMPUTE, losses, far))


def test_two_computes_tell_no_law() -> None:
    with pytest.raises(ValueError, match="needs at least 3 distinct compute budgets, got 2"):
        fit([1e14, 1e15, 1e15], [3.0, 2.0, 2.1])
