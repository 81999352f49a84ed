"""Axes with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def padded_scale(values: Sequence[float], start: float, end: float, *, zero: bool = False) -> Scale:
    """A scale over all finite values with 5 % of room at each end. With `zero`, the scale includes 0."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    if low == high:
        low, high = low - abs(low or 1) / 2, high + abs(high or 1) / 2
    room = (high - low) * 0.05
    return Scale(low if zero and low == 0 else low - room, high + room, start, end)


def ticks(scale: Scale, count: int) -> list[float]:
    """About `count` round numbers within the scale. They are 1, 2 or 5 times a power of ten apart."""
    power = 10.0 ** math.floor(math.log10((scale.high - scale.low) / max(1, count)))
    choices = [_multiples(factor * power, scale) for factor in (1, 2, 5, 10)]
    return min(choices, key=lambda found: (not found, abs(len(found) - count)))


def _multiples(step: float, scale: Scale) -> list[float]:
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def time_ticks(scale: Scale, count: int) -> list[float]:
    """About `count` ticks at round times, in seconds: for example every 30 seconds, 15 minutes or day."""
    rough = (scale.high - scale.low) / max(1, count)
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
    step = next((step for step in steps if step >= rough * 0.999), 86_400 * math.ceil(rough / 86_400))
    return _multiples(step, scale)


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels with just enough digits to distinguish the ticks: `0.0005`, `1.25`, `12k`."""
    if not values:
        return []
    largest = max(abs(value) for value in values)
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**4, "k")):
        if largest >= size:
            return [f"{value / (10**3 if unit == 'k' else size):g}{unit}" if value else "0" for value in values]
    step = min((b - a for a, b in pairwise(values)), default=largest or 1.0)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if digits > 4:
        return [f"{value:.{max(0, digits + math.floor(math.log10(largest)))}e}" if value else "0" for value in values]
    return [f"{value:.{digits}f}" for value in values]
