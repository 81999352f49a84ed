"""Fill in the middle (Bavarian et al. 2022, arXiv 2207.14255): a left-to-right model learns to insert text.

Each document of a row is split at two characters into prefix, middle and suffix, which are then reordered:

    prefix-suffix-middle   <|fim_prefix|> P <|fim_suffix|> S <|fim_middle|> M
    suffix-prefix-middle   <|fim_prefix|> <|fim_suffix|> S <|fim_middle|> P M

Splits fall between any two characters, so the model learns to start and end inside a word. The parts are tokenized
separately, and the loss covers every token. A row that becomes too long is cut. A row that becomes too short is padded;
padding has no loss. If half of the rows use this objective, the left-to-right loss of causal training does not suffer.
`mixture.py` assigns rows to objectives.

On held-out text, the measure is exact infill: the fraction of short middles that greedy decoding reproduces exactly,
including the end of text. Greedy decoding reproduces a middle exactly if the model predicts each of its tokens
correctly from the true tokens before it, so one forward pass is enough.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from bessemer.model.transformer import IGNORED
from bessemer.tokens.infill import Sentinels, infill_prompt
from bessemer.tokens.store import TokenStore
from bessemer.tokens.tokenizer import TokenizerFolder
from bessemer.train.objectives.base import Batch, Loss, Measures, generator_of
from bessemer.train.objectives.over_windows import OverWindows
from bessemer.train.sampler import Rows

LONGEST_MIDDLE = 16
"""Maximum number of characters in a held-out middle."""
SPM_RATE = 0.5
"""Fraction of documents in suffix-prefix-middle order."""
SHORTEST = 8
"""Minimum number of characters in a document that is split; shorter documents stay unchanged."""


class Infill(OverWindows):
    """Fill in the middle on a token store. It trains on the split `train` and measures on `validation`."""

    measure_names = ("exact_infill", "infill_loss", "infill_bits_per_byte")
    causal = True

    def __init__(
        self,
        store: TokenStore,
        tokenizer: TokenizerFolder,
        sentinels: Sentinels,
        *,
        length: int,
        seed: int,
        validation_tokens: int,
        z_loss: float = 0.0,
    ) -> None:
        windows = -(-validation_tokens // length)
        super().__init__(store, length=length, seed=seed, validation_windows=windows, z_loss=z_loss)
        self.tokenizer, self.sentinels = tokenizer, sentinels

    def batch(self, step: int, rows: Rows) -> Batch:
        read = self.windows.read(rows)
        places = zip(rows.epoch, rows.index, strict=True)
        return self._rows(
            [
                self._transformed(tokens, generator_of("infill", self.seed, epoch, index))
                for tokens, (epoch, index) in zip(read.tolist(), places, strict=True)
            ]
        )

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        targets = batch["targets"]
        total = model(batch["tokens"], targets=targets, z_loss=self.z_loss)
        return Loss(total, (targets != IGNORED).sum())

    def validation_batch(self, first: int, last: int) -> Batch:
        read = self.held_out.read(first, last, padding=self.sentinels.end)
        found, counted = [], []
        for number, tokens in enumerate(read.tolist(), start=first):
            prompt, answer = self._question(tokens, generator_of("held out", self.seed, 0, number))
            found.append([*prompt, *answer])
            counted.append((len(prompt), len(prompt) + len(answer)))
        batch = self._rows(found)
        targets = torch.full_like(batch["targets"], IGNORED)
        for row, (start, end) in enumerate(counted):  # the target of a token is one position before it
            targets[row, start - 1 : end - 1] = batch["targets"][row, start - 1 : end - 1]
        return {**batch, "targets": targets}

    def measure(self, model: nn.Module, batch: Batch) -> Measures:
        targets = batch["targets"]
        rows, places = torch.nonzero(targets != IGNORED, as_tuple=True)
        wanted = targets[rows, places]
        logits = model(batch["tokens"], at=(rows, places)).double()
        nats = nn.functional.cross_entropy(logits, wanted, reduction="sum")
        wrong = torch.zeros(len(targets), dtype=torch.double, device=targets.device)
        wrong.index_add_(0, rows, (logits.argmax(-1) != wanted).double())
        asked = (targets != IGNORED).any(1)
        sizes = self.token_bytes.to(targets.device)[wanted]
        return {
            "exact_infill": (((wrong == 0) & asked).sum(), asked.sum()),
            "infill_loss": (nats, torch.tensor(len(wanted), device=nats.device)),
            "infill_bits_per_byte": (nats / math.log(2), sizes.sum()),
        }

    def _transformed(self, tokens: list[int], random: np.random.Generator) -> list[int]:
        """The documents of a row, each reordered in one of the two ways."""
        found: list[int] = []
        for document, ended in _documents(tokens, self.sentinels.end):
            found += self._reordered(self._text(document), random)
            if ended:
                found.append(self.sentinels.end)
        return found

    def _reordered(self, text: str, random: np.random.Generator) -> list[int]:
        encode, s = self.tokenizer.encode, self.sentinels
        if len(text) < SHORTEST:
            return encode(text)
        first, last = sorted(random.integers(0, len(text) + 1, size=2).tolist())
        prefix, middle, suffix = text[:first], text[first:last], text[last:]
        if random.random() < SPM_RATE:
            return [s.prefix, s.suffix, *encode(suffix), s.middle, *encode(prefix), *encode(middle)]
        return [s.prefix, *encode(prefix), s.suffix, *encode(suffix), s.middle, *encode(middle)]

    def _question(self, tokens: list[int], random: np.random.Generator) -> tuple[list[int], list[int]]:
        """A prompt and its answer, from the longest document of a window.

        The answer is a short middle of the document and an end token. The prompt is the document without the middle. If
        the prompt does not fit, it is cut at the start.
        """
        text = self._text(max((d for d, _ in _documents(tokens, self.sentinels.end)), key=len))
        text = text[: 2 * self.length]  # about half a row at 4 characters per token
        size = min(int(random.integers(1, LONGEST_MIDDLE + 1)), max(1, len(text) // 3))
        start = int(random.integers(0, max(1, len(text) - size)))
        prompt = infill_prompt(self.tokenizer, self.sentinels, text[:start], text[start + size :])
        answer = [*self.tokenizer.encode(text[start : start + size]), self.sentinels.end]
        room = self.length - len(answer)
        return (prompt if len(prompt) <= room else [self.sentinels.prefix, *prompt[-(room - 1) :]]), answer

    def _text(self, tokens: list[int]) -> str:
        """The text of a document's tokens, without special ones and incomplete characters at the window's edges."""
        return self.tokenizer.decode(tokens, skip_special=True).strip("\ufffd")

    def _rows(self, found: list[list[int]]) -> dict[str, Tensor]:
        tokens = np.full((len(found), self.length + 1), IGNORED, dtype=np.int64)
        for row, numbers in enumerate(found):
            tokens[row, : len(numbers)] = numbers[: self.length + 1]
        rows = torch.from_numpy(tokens)
        return {"tokens": rows[:, :-1].clamp_min(0), "targets": rows[:, 1:]}


def _documents(tokens: list[int], end: int) -> list[tuple[list[int], bool]]:
    """(document, whether the row contains its end) for each document in a row."""
    found: list[tuple[list[int], bool]] = []
    start = 0
    for place, token in enumerate(tokens):
        if token == end:
            found.append((tokens[start:place], True))
            start = place + 1
    return [*found, (tokens[start:], False)]
