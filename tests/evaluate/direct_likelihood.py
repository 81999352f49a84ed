"""Log-likelihoods by `transformers`, computed for one row without batch, mask or cache."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import transformers


@cache
def stock_model(folder: Path) -> torch.nn.Module:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def direct(folder: Path, context: list[int], continuation: list[int]) -> float:
    """Returns log P(continuation | context)."""
    tokens = torch.tensor([context + continuation])
    with torch.no_grad():
        logs = torch.log_softmax(stock_model(folder)(tokens).logits[0].double(), -1)
    places = range(len(context), tokens.shape[1])
    return sum(float(logs[place - 1, tokens[0, place]]) for place in places)
