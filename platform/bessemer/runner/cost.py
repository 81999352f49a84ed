"""The cost of a stage: its time, times the price of its hardware, if the recipe states a price."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from bessemer.recipe.recipe import CostSettings

CPU = "CPU"


def price_per_hour(settings: CostSettings, resolved: Mapping[str, Any], *, here: bool) -> float | None:
    """The price of an hour of a stage's devices; None where the recipe has none for them.

    A stage that trained says in `resolved` on what (`device_name`, `num_workers`); any other had this machine's cores
    if it was `here`, and on a cluster nobody knows how many.
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
