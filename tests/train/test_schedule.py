"""The learning rate schedules: shape, range, and golden values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.train.schedule import Schedule


def factors(schedule):
    return [round(schedule.factor(step), 4) for step in range(1, schedule.num_steps + 1)]


def test_warmup_stable_decay():
    """Golden values computed by hand: up in quarters, constant, then down over the last half."""
    course = factors(Schedule("warmup_stable_decay", num_steps=10, warmup_steps=3, decay_ratio=0.5))
    assert course == [0.25, 0.5, 0.75, 1.0, 1.0, 0.9, 0.7, 0.5, 0.3, 0.1]


def test_linear():
    course = factors(Schedule("linear", num_steps=5, warmup_steps=0, decay_ratio=0.5, final_ratio=0.1))
    assert course == [0.91, 0.73, 0.55, 0.37, 0.19]


def test_cosine_is_half_down_in_the_middle():
    schedule = Schedule("cosine", num_steps=5, warmup_steps=0, decay_ratio=0.5)
    assert schedule.factor(3) == pytest.approx(0.5)
    assert factors(schedule) == [0.9755, 0.7939, 0.5, 0.2061, 0.0245]


@settings(deadline=None)
@given(
    shape=st.sampled_from(["warmup_stable_decay", "cosine", "linear"]),
    num_steps=st.integers(1, 200),
    warmup_steps=st.integers(0, 300),
    decay_ratio=st.floats(0, 1),
    final_ratio=st.floats(0, 1),
)
def test_every_update_moves_and_none_exceeds_the_peak(shape, num_steps, warmup_steps, decay_ratio, final_ratio):
    schedule = Schedule(shape, num_steps, warmup_steps, decay_ratio, final_ratio)
    course = [schedule.factor(step) for step in range(1, num_steps + 1)]
    assert all(0 < factor <= 1 for factor in course)
    peak = min(warmup_steps, num_steps)
    assert course[:peak] == sorted(course[:peak])
    assert course[peak:] == sorted(course[peak:], reverse=True)
