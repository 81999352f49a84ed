"""Tests of charts: round ticks, gaps at NaN values, and thinning that keeps the extremes."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.report import charts
from bessemer.report.charts import MOST_POINTS, Series, line_chart, smoothed
from bessemer.report.scales import Scale, padded_scale, tick_labels, ticks, time_ticks

numbers = st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-6)


@settings(deadline=None)
@given(values=st.lists(numbers, min_size=1, max_size=20), zero=st.booleans())
def test_a_scale_holds_its_values_and_ticks_lie_on_it_with_different_labels(values: list[float], zero: bool) -> None:
    scale = padded_scale(values, 0, 100, zero=zero)
    assert all(0 <= round(scale(value), 6) <= 100 for value in values)
    marks = ticks(scale, 5)
    assert 1 <= len(marks) <= 8
    assert all(-1e-6 <= scale(mark) <= 100 + 1e-6 for mark in marks)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (1.8, 2.9, ["1.8", "2.0", "2.2", "2.4", "2.6", "2.8"]),
        (0, 18_500, ["0", "5k", "10k", "15k"]),
        (0, 2_500_000, ["0", "0.5M", "1M", "1.5M", "2M", "2.5M"]),
        (0, 0.0005, ["0.0000", "0.0001", "0.0002", "0.0003", "0.0004", "0.0005"]),
    ],
)
def test_labels_are_as_short_as_they_can_be(low: float, high: float, expected: list[str]) -> None:
    assert tick_labels(ticks(Scale(low, high, 0, 100), 5)) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(3, [0, 0.5, 1, 1.5, 2, 2.5, 3]), (180, [0, 30, 60, 90, 120, 150, 180]), (0.05, [0])]
)
def test_time_has_its_own_round_numbers(seconds: float, expected: list[float]) -> None:
    assert time_ticks(Scale(0, seconds, 0, 100), 6) == pytest.approx(expected)


def test_a_value_that_is_no_number_is_a_gap() -> None:
    points = [(1.0, 1.0), (2.0, 2.0), (3.0, math.nan), (4.0, 1.0), (5.0, math.inf), (6.0, 1.5)]
    chart = line_chart([Series("loss", points)], title="Loss", x_label="step", x_range=(0, 6))
    path = re.search(r'<path d="([^"]*)"', chart)
    assert path
    assert [piece.count("L") for piece in path[1].split("M")[1:]] == [1, 0, 0]
    assert "nan" not in chart


def test_nothing_to_draw_is_no_failure() -> None:
    assert "<svg" in line_chart([Series("loss", [(1.0, math.nan)])], title="Loss", x_label="step", x_range=(0, 1))


@settings(deadline=None)
@given(spike=st.integers(0, 4999))
def test_thinning_keeps_the_spike(spike: int) -> None:
    points = [(float(step), 1.0) for step in range(5000)]
    points[spike] = (float(spike), 9.0)
    thinned = charts._thinned(points)
    assert len(thinned) <= MOST_POINTS + 2
    assert (float(spike), 9.0) in thinned


@given(level=st.floats(-10, 10), span=st.integers(1, 50), count=st.integers(1, 100))
def test_the_mean_of_a_constant_is_the_constant(level: float, span: int, count: int) -> None:
    assert smoothed([(float(i), level) for i in range(count)], span) == [
        (float(i), pytest.approx(level, abs=1e-9)) for i in range(count)
    ]
