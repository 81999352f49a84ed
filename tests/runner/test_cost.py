"""The cost is the time multiplied by the recipe's price. Without a price, no cost is shown."""

from __future__ import annotations

import os

import pytest

from bessemer.recipe.recipe import CostSettings
from bessemer.runner.cost import money, price_per_hour

H200 = {"device_name": "NVIDIA H200", "num_workers": 8}


@pytest.mark.parametrize(
    ("settings", "resolved", "price"),
    [
        ({}, H200, None),
        ({"prices": {"H100": 2.0}}, H200, None),
        ({"prices": {"H200": 3.5, "NVIDIA H200": 4.0, "CPU": 0.1}}, H200, 32.0),
        ({"prices": {"H200": 3.5}}, {}, None),
        ({"prices": {"CPU": 0.5}}, {"num_workers": 2}, 0.5 * (os.cpu_count() or 1)),
        ({"price_per_hour": 9.0, "prices": {"H200": 3.5}}, H200, 9.0),
    ],
)
def test_the_price_is_that_of_the_devices(settings: dict, resolved: dict, price: float | None) -> None:
    assert price_per_hour(CostSettings.model_validate(settings), resolved, here=True) == price


def test_money_is_a_metric_in_its_currency() -> None:
    settings = CostSettings(price_per_hour=6.0, currency="EUR")
    assert money(settings, {}, 600.0, here=False) == {"cost/EUR": pytest.approx(1.0)}
    assert money(CostSettings(), {}, 600.0, here=True) == {}
    assert money(CostSettings(prices={"CPU": 1.0}), {}, 600.0, here=False) == {}, "nobody knows a cluster's cores"
