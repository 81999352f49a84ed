"""Masked language modelling: the model predicts masked tokens from the text on both sides.

A fraction of each row's tokens (`masking_ratio`; 0.3 in recent encoders, 0.15 in BERT) is replaced by the mask token.
Unlike in BERT, the mask token replaces every chosen token. The loss is the cross entropy of the original tokens.
Attention is bidirectional. A model trained only with this objective cannot generate from left to right, and its export
is marked accordingly.

On held-out text, the measure is pseudo-perplexity (Salazar et al. 2020, arXiv 1910.14659): the likelihood of each token
given all others. The paper masks one token per forward pass. This module masks every eighth token in each of eight
passes, so a prediction sees only seven eighths of the tokens, and the result is slightly higher than in the paper.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bessemer.model.transformer import IGNORED
from bessemer.tokens.store import TokenStore
from bessemer.train.objectives.base import Batch, Loss, Measures, generator_of
from bessemer.train.objectives.over_windows import OverWindows
from bessemer.train.sampler import Integers, Rows

PASSES = 8
"""Passes over a held-out window. Each pass masks every eighth token."""


class Masked(OverWindows):
    """Masked language modelling on a token store. It trains on the split `train` and measures on `validation`."""

    measure_names = ("pseudo_loss", "pseudo_bits_per_byte")
    causal = False

    def __init__(
        self,
        store: TokenStore,
        *,
        length: int,
        seed: int,
        validation_tokens: int,
        mask_id: int,
        masking_ratio: float,
        z_loss: float = 0.0,
    ) -> None:
        windows = -(-validation_tokens // (length * PASSES))
        super().__init__(store, length=length, seed=seed, validation_windows=windows, z_loss=z_loss)
        self.num_validation_rows *= PASSES
        self.mask_id, self.masking_ratio = mask_id, masking_ratio

    def batch(self, step: int, rows: Rows) -> Batch:
        tokens = self.windows.read(rows)[:, :-1]
        hidden = np.zeros(tokens.shape, dtype=bool)
        for row, (epoch, index) in enumerate(zip(rows.epoch, rows.index, strict=True)):
            places = np.flatnonzero(self._is_text(tokens[row]))
            count = max(1, round(self.masking_ratio * len(places)))
            chosen = generator_of("masked", self.seed, epoch, index).permutation(places)[:count]
            hidden[row, chosen] = True
        return self._cloze(tokens, hidden)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        targets = batch["targets"]
        chosen = torch.nonzero(targets != IGNORED, as_tuple=True)  # the head computes masked positions only
        total = model(batch["tokens"], targets=targets[chosen], at=chosen, causal=False, z_loss=self.z_loss)
        return Loss(total, torch.tensor(float(len(chosen[0])), device=targets.device))

    def validation_batch(self, first: int, last: int) -> Batch:
        numbers = np.arange(first, last)
        windows, passes = np.divmod(numbers, PASSES)
        read = self.held_out.read(int(windows[0]), int(windows[-1]) + 1, padding=-1)[:, :-1]
        tokens = read[windows - windows[0]]
        places = np.arange(tokens.shape[1])
        hidden = (places % PASSES == passes[:, None]) & self._is_text(tokens)
        return self._cloze(tokens, hidden)

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        targets = batch["targets"]
        nats = model(batch["tokens"], targets=targets, reduction="none", causal=False).double()
        counted = targets != IGNORED
        sizes = self.token_bytes.to(targets.device)[targets.clamp_min(0)] * counted
        return {
            "pseudo_loss": (nats.sum(), counted.sum()),
            "pseudo_bits_per_byte": (nats.sum() / math.log(2), sizes.sum()),
        }

    def figures(self, measured: dict[str, float]) -> dict[str, float]:
        if "pseudo_loss" not in measured:
            return measured
        return measured | {"pseudo_perplexity": math.exp(min(measured["pseudo_loss"], 700.0))}

    def _is_text(self, tokens: Integers) -> Any:
        return (tokens >= 0) & (self.token_bytes.numpy()[np.maximum(tokens, 0)] > 0)

    def _cloze(self, tokens: Integers, hidden: Any) -> dict[str, Tensor]:
        targets = np.where(hidden, tokens, IGNORED)
        seen = np.where(hidden, self.mask_id, np.maximum(tokens, 0))
        return {"tokens": torch.from_numpy(seen), "targets": torch.from_numpy(targets)}
