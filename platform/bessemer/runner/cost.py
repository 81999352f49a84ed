"""The cost of a stage: its time multiplied by the price of its hardware, if the recipe states a price."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from bessemer.recipe.recipe import CostSettings

CPU = "CPU"


def price_per_hour(settings: CostSettings, resolved: Mapping[str, Any], *, here: bool) -> float | None:
    """The price per hour of a stage's devices; None if the recipe states no price for them.

    A training stage records its devices in `resolved` (`device_name`, `num_workers`). Any other stage used all cores of
    this machine if it ran `here`. On a cluster, its number of cores is unknown.
    """
    if settings.price_per_hour is not None:
        return settings.price_per_hour
    name = resolved.get("device_name")
    if name is None:
        core = settings.prices.get(CPU)
        return None if core is None or not here else core * (os.cpu_count() or 1)
    words = set(str(name).replace("-", " ").split())
    known = [key for key in settings.prices if set(key.split()) <= words]
    if not known:
        return None
    return settings.prices[max(known, key=len)] * max(1, int(resolved.get("num_workers", 1)))


def money(settings: CostSettings, resolved: Mapping[str, Any], seconds: float, *, here: bool) -> dict[str, float]:
    """The metric `cost/<currency>` of a stage that took `seconds`, if its price is known."""
    price = price_per_hour(settings, resolved, here=here)
    return {} if price is None else {f"cost/{settings.currency}": price * seconds / 3600}
