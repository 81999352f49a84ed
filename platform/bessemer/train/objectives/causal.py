"""Next-token prediction: the loss is the cross entropy of every token, given the tokens before it.

On held-out text, the measure is bits per byte, which does not depend on the tokenizer: nats / ln 2 / UTF-8 bytes. Both
sums cover text tokens only. Special tokens have no bytes and are left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bessemer.model.transformer import IGNORED, document_mask
from bessemer.tokens.store import TokenStore
from bessemer.train.objectives.base import Batch, Loss, Measures
from bessemer.train.objectives.over_windows import OverWindows
from bessemer.train.sampler import Integers, Rows


class Causal(OverWindows):
    """Next-token prediction on a token store. It trains on the split `train` and measures on `validation`.

    With `document_mask`, attention does not cross document boundaries.
    """

    measure_names = ("loss", "bits_per_byte")
    causal = True

    def __init__(
        self,
        store: TokenStore,
        *,
        length: int,
        seed: int,
        validation_tokens: int,
        document_mask: bool = False,
        z_loss: float = 0.0,
    ) -> None:
        windows = -(-validation_tokens // length)
        super().__init__(store, length=length, seed=seed, validation_windows=windows, z_loss=z_loss)
        self.document_mask, self.end_of_text_id = document_mask, store.end_of_text_id

    def batch(self, step: int, rows: Rows) -> Batch:
        return _shifted(self.windows.read(rows))

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        targets = batch["targets"]
        total = model(batch["tokens"], targets=targets, mask=self._mask(batch["tokens"]), z_loss=self.z_loss)
        return Loss(total, torch.tensor(float(targets.numel()), device=targets.device))

    def validation_batch(self, first: int, last: int) -> Batch:
        return _shifted(self.held_out.read(first, last, padding=IGNORED))

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        targets = batch["targets"]
        nats = model(batch["tokens"], targets=targets, reduction="none", mask=self._mask(batch["tokens"])).double()
        counted = targets != IGNORED
        sizes = self.token_bytes.to(targets.device)[targets.clamp_min(0)] * counted
        return {
            "loss": (nats.sum(), counted.sum()),
            "bits_per_byte": ((nats * (sizes > 0)).sum() / math.log(2), sizes.sum()),
        }

    def _mask(self, tokens: Tensor) -> Tensor | None:
        if not self.document_mask:
            return None
        ends = (tokens == self.end_of_text_id).cumsum(1)
        return document_mask(ends - (tokens == self.end_of_text_id).long())  # an end token belongs to its document


def _shifted(tokens: Integers) -> dict[str, Tensor]:
    """Inputs and targets from rows of length + 1 tokens. Padding is not a valid input, so it becomes token 0."""
    rows = torch.from_numpy(tokens)
    return {"tokens": rows[:, :-1].clamp_min(0), "targets": rows[:, 1:]}
