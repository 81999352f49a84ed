"""The next token of each row, drawn from its logits.

A row is drawn with one number of its own, by inversion: the tokens stand in order of probability, and the one at
which the cumulated probability passes the number is taken. So a row's token depends on its logits and its number,
never on the other rows, and one sort serves the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bessemer.generate.settings import GenerationSettings


@dataclass(frozen=True)
class Sampler:
    """The settings of a batch's rows, as columns [B, 1]."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor

    @classmethod
    def of(cls, settings: Sequence[GenerationSettings], device: torch.device | str) -> Sampler:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

        return cls(
            column([s.temperature for s in settings]),
            column([float(s.top_k) for s in settings]),
            column([s.top_p for s in settings]),
        )

    def rows(self, kept: Tensor) -> Sampler:
        """The settings of some of the rows."""
        return Sampler(self.temperature[kept], self.top_k[kept], self.top_p[kept])

    def draw(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Token ids [B] from logits [B, V] and `numbers` [B] in [0, 1); rows of temperature 0 take the greatest."""
        likeliest = logits.max(dim=-1).indices  # `argmax` is four times slower on a CPU
        if not self.temperature.any():
            return likeliest
        greedy = self.temperature == 0
        scaled = logits.float() / self.temperature.masked_fill(greedy, 1.0)
        probabilities, tokens = torch.softmax(scaled, dim=-1).sort(dim=-1, descending=True, stable=True)
        rank = torch.arange(logits.shape[-1], device=logits.device)
        probabilities = probabilities.masked_fill((rank >= self.top_k) & (self.top_k > 0), 0.0)
        probabilities /= probabilities.sum(-1, keepdim=True)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill((before >= self.top_p) & (rank > 0), 0.0)
        reached = probabilities.cumsum(-1)
        place = (reached <= numbers[:, None].to(reached) * reached[:, -1:]).sum(-1)
        place = place.minimum((probabilities > 0).sum(-1) - 1)  # the sum may round to below the number
        drawn = tokens.gather(1, place[:, None]).squeeze(1)
        return torch.where(greedy.squeeze(1), likeliest, drawn)
