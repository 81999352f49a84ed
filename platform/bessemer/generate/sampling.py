"""The next token of each row, drawn from its logits.

A row is drawn with one number of its own, by inversion: the token at which the cumulated probability passes the number
is taken. So a row's token depends on its logits and its number, never on the other rows. Nothing is sorted but the rows
that have `top_k` or `top_p`, and of those only the probabilities: 8192 in 16 us, where sorting their places with them
takes 380.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bessemer.generate.settings import GenerationSettings
from bessemer.model.finite import check_finite


@dataclass(frozen=True)
class Sampler:
    """The settings of a batch's rows, also as columns [B, 1]."""

    settings: tuple[GenerationSettings, ...]
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor

    @classmethod
    def of(cls, settings: Sequence[GenerationSettings], device: torch.device | str) -> Sampler:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

        return cls(
            tuple(settings),
            column([s.temperature for s in settings]),
            column([float(s.top_k) for s in settings]),
            column([s.top_p for s in settings]),
        )

    def rows(self, kept: Sequence[int]) -> Sampler:
        """The settings of some of the rows."""
        return Sampler.of([self.settings[row] for row in kept], self.temperature.device)

    def draw(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Token ids [B] from logits [B, V] and `numbers` [B] in [0, 1); rows of temperature 0 take the greatest.

        Raises NotFinite if a logit is NaN or infinite.
        """
        greedy = [row for row, s in enumerate(self.settings) if s.temperature == 0]
        if len(greedy) == len(self.settings):
            greatest = logits.max(dim=-1)  # `argmax` is four times slower on a CPU
            check_finite(greatest.values)
            return greatest.indices
        scaled = in_rows(logits) / self.temperature.masked_fill(self.temperature == 0, 1.0)
        probabilities = torch.softmax(scaled, dim=-1)
        check_finite(probabilities[:, 0])  # one logit that is NaN or inf makes the whole row NaN
        filtered = [row for row, s in enumerate(self.settings) if s.temperature and (s.top_k or s.top_p < 1)]
        if filtered:
            some = probabilities[filtered]
            probabilities[filtered] = some.where(kept(some, self.top_k[filtered], self.top_p[filtered]), 0.0)
        reached = probabilities.cumsum(-1)
        whole = reached[:, -1:]
        # below the whole sum whatever the rounding, so that what is found has a probability
        wanted = torch.minimum(numbers[:, None].to(reached) * whole, torch.nextafter(whole, torch.zeros_like(whole)))
        drawn = torch.searchsorted(reached, wanted, right=True).squeeze(1)
        if greedy:
            drawn[greedy] = logits[greedy].max(dim=-1).indices
        return drawn


def kept(probabilities: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Which tokens [B, V] remain: the `top_k` likeliest (0: all), of those the fewest that together have `top_p`.

    Of equally likely ones the first. `top_k` and `top_p` are [B, 1].
    """
    ordered = _descending(probabilities)
    rank = torch.arange(ordered.shape[-1], device=ordered.device)
    ordered = ordered.masked_fill((rank >= top_k) & (top_k > 0), 0.0)
    before = ordered.cumsum(-1) - ordered
    count = ((before < top_p * ordered.sum(-1, keepdim=True)) & (ordered > 0)).sum(-1, keepdim=True).clamp_min(1)
    least = ordered.gather(-1, count - 1)
    above, equal = probabilities > least, probabilities == least
    room = count - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= room))


def in_rows(x: Tensor) -> Tensor:
    """x [B, n] with its memory in rows; the third dimension keeps torch from its own, slow transposition."""
    return x if x.is_contiguous() else x[None].contiguous()[0]


def _descending(values: Tensor) -> Tensor:
    """The values of each row, greatest first."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=-1)).flip(-1)
    return values.sort(dim=-1, descending=True).values
