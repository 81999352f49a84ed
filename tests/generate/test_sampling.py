"""Samples follow the filtered probabilities, and the filters match their definitions."""

from __future__ import annotations

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from bessemer.errors import NotFinite
from bessemer.generate.sampling import TokenSampler
from bessemer.generate.settings import GenerationSettings


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.7, 5, 1.0), (1.3, 0, 0.8), (1.0, 9, 0.6)]
)
def test_the_share_of_each_token_is_its_probability_as_transformers_filters_it(
    temperature: float, top_k: int, top_p: float
) -> None:
    """With numbers on a fine grid, the frequency of every token is its probability, up to one step of the grid."""
    logits = torch.randn(1, 23, generator=torch.Generator().manual_seed(0)) * 2
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        warpers.append(TopKLogitsWarper(top_k))
    warpers.append(TopPLogitsWarper(top_p))
    expected = torch.softmax(warpers(None, logits), -1)[0]

    steps = 20_000
    settings = GenerationSettings(temperature=temperature, top_k=top_k, top_p=top_p)
    numbers = (torch.arange(steps) + 0.5) / steps
    drawn = TokenSampler.of([settings] * steps, "cpu").draw(logits.expand(steps, -1), numbers)
    share = torch.bincount(drawn, minlength=23) / steps
    torch.testing.assert_close(share, expected, atol=2 / steps, rtol=0)


def test_rows_have_their_own_settings_and_temperature_zero_is_greedy() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0]]).expand(3, -1)
    rows = [GenerationSettings(temperature=t, top_p=1.0, top_k=k) for t, k in ((0, 0), (1, 1), (5, 0))]
    drawn = TokenSampler.of(rows, "cpu").draw(logits, torch.tensor([0.99, 0.99, 0.99]))
    assert drawn.tolist() == [1, 1, 2]


def test_the_greatest_number_draws_a_kept_token() -> None:
    logits = torch.zeros(1, 5000)
    settings = GenerationSettings(temperature=1, top_k=10, top_p=1)
    number = torch.tensor([1.0 - 2**-24])
    assert TokenSampler.of([settings], "cpu").draw(logits, number) == 9


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.0, 0, 1.0), (1.0, 0, 1.0), (1.0, 3, 1.0), (1.0, 0, 0.5)]
)
def test_logits_that_are_not_finite_draw_nothing(bad: float, temperature: float, top_k: int, top_p: float) -> None:
    """A single infinite or NaN logit in one row raises an error, for all settings."""
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    settings = [GenerationSettings(temperature=temperature, top_k=top_k, top_p=top_p)] * 3
    TokenSampler.of(settings, "cpu").draw(logits, torch.full((3,), 0.5))
    logits[1, 17] = bad
    with pytest.raises(NotFinite, match="are not finite"):
        TokenSampler.of(settings, "cpu").draw(logits, torch.full((3,), 0.5))
