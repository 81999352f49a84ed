"""Samples the next token of each row from its logits.

Each row has one uniform random number and is sampled by inversion: the result is the token at which the cumulative
probability exceeds the number. The token depends on the row's logits and number only, not on other rows. Only rows with
`top_k` or `top_p` are sorted, and only their probabilities. Sorting 8192 probabilities takes 16 us, compared with 380
us for sorting their indices too.
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
class TokenSampler:
    """Samples the rows of a batch. Holds the settings of each row, also as tensors [B, 1]."""

    settings: tuple[GenerationSettings, ...]
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor

    @classmethod
    def of(cls, settings: Sequence[GenerationSettings], device: torch.device | str) -> TokenSampler:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

        return cls(
            tuple(settings),
            column([s.temperature for s in settings]),
            column([float(s.top_k) for s in settings]),
            column([s.top_p for s in settings]),
        )

    def rows(self, kept: Sequence[int]) -> TokenSampler:
        """A sampler for the rows `kept` only."""
        return TokenSampler.of([self.settings[row] for row in kept], self.temperature.device)

    def draw(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Token ids [B] for logits [B, V] and uniform random `numbers` [B] in [0, 1).

        Rows with temperature 0 take the token with the largest logit. Raises NotFinite if a logit is NaN or infinite.
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
        # Keeps the target below the sum despite rounding, so that the token found has a probability above 0.
        wanted = torch.minimum(numbers[:, None].to(reached) * whole, torch.nextafter(whole, torch.zeros_like(whole)))
        drawn = torch.searchsorted(reached, wanted, right=True).squeeze(1)
        if greedy:
            drawn[greedy] = logits[greedy].max(dim=-1).indices
        return drawn


def kept(probabilities: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """A mask [B, V] of the tokens that remain after top-k and then top-p filtering.

    `top_k` and `top_p` are [B, 1]. Top-k keeps the `top_k` likeliest tokens, or all if it is 0. Top-p keeps the
    smallest number of the likeliest tokens whose share of the remaining probability is at least `top_p`. Of equally
    likely tokens, those with the lowest ids remain.
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
    """x [B, n] in row-major memory.

    The additional dimension avoids torch's transposition of matrices, which is slow.
    """
    return x if x.is_contiguous() else x[None].contiguous()[0]


def _descending(values: Tensor) -> Tensor:
    """The values of each row in descending order."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=-1)).flip(-1)
    return values.sort(dim=-1, descending=True).values
