"""Samples answers (rollouts) from the policy, with the log-probability of every token, for policy gradients.

    sampler = RolloutSampler(model, stop_ids=template.stop_ids)
    rollouts = sampler.sample(prompts, num_generations=8, settings=settings, seed=step)
    sampler.update(dict(trained.named_parameters()))       # the next answers come from the trained weights

The model reads a prompt once for all its answers: their caches start as copies of the prompt's cache. An answer depends
on the seed, the key of the prompt and the answer's number in its group. Other answers in the batch change its logits
only by rounding (up to 0.01 in bf16), because matrix products of other shapes sum in another order.

A sampled token has two log-probabilities: under the model's logits, and under the logits divided by the temperature.
The second is the sampling distribution before `top_k` and `top_p` cut off improbable tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bessemer.generate.decoder import Decoder
from bessemer.generate.engine import Batch
from bessemer.generate.sampling import in_rows
from bessemer.generate.settings import GenerationSettings
from bessemer.model.transformer import Transformer

MAX_ROWS = 64
"""Maximum number of answers that are generated in parallel. The answers to one prompt are never split."""


@dataclass(frozen=True)
class Prompt:
    """A prompt as token ids. `number` is its index in the data set."""

    number: int
    tokens: tuple[int, ...]
    key: tuple[int, ...]
    """Non-negative numbers that seed the answers. The prompts of one call must have distinct keys, because equal
    prompts with equal keys get equal answers."""


@dataclass(frozen=True)
class Rollout:
    """One answer to a prompt."""

    prompt: Prompt
    generation: int
    """The number of the answer in its group."""
    tokens: tuple[int, ...]
    """The token ids. If the answer is finished, the last one is the stop token."""
    logprobs: tuple[float, ...]
    """Log-probability of each token in nats, at temperature 1."""
    sampling_logprobs: tuple[float, ...]
    """Log-probability of each token in nats, at the temperature of the sampling."""
    finish_reason: Literal["stop", "length"]


class RolloutSampler:
    """Samples answers with a separate model, whose weights `update` replaces. A token in `stop_ids` ends an answer."""

    def __init__(self, model: Transformer, *, stop_ids: Collection[int]) -> None:
        self._model = model.eval()
        self._stop_ids = frozenset(stop_ids)
        self._decoder = Decoder(model)

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Copies weights, named as in `Transformer.named_parameters`, from any floating-point type and device."""
        parameters = dict(self._model.named_parameters())
        assert parameters.keys() == weights.keys(), f"different weights: {sorted(parameters.keys() ^ weights.keys())}"
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
        self._decoder = Decoder(self._model)

    def sample(
        self, prompts: Sequence[Prompt], *, num_generations: int, settings: GenerationSettings, seed: int
    ) -> list[Rollout]:
        """Samples `num_generations` answers per prompt, in the order of the prompts.

        Ignores the seed and the stop texts of `settings`. Raises UsageError for a prompt that fills the model's
        context.
        """
        assert len({prompt.key for prompt in prompts}) == len(prompts), "equal keys would give equal answers"
        assert settings.temperature > 0, "at temperature 0 all answers to a prompt are the same"
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place].tokens))
        per_batch = max(1, MAX_ROWS // num_generations)
        found: dict[int, list[Rollout]] = {}
        for start in range(0, len(order), per_batch):
            chosen = order[start : start + per_batch]
            answers = self._together([prompts[place] for place in chosen], num_generations, settings, seed)
            for place, first in zip(chosen, range(0, len(answers), num_generations), strict=True):
                found[place] = answers[first : first + num_generations]
        return [rollout for place in range(len(prompts)) for rollout in found[place]]

    def _together(
        self, prompts: Sequence[Prompt], num_generations: int, settings: GenerationSettings, seed: int
    ) -> list[Rollout]:
        whose = [(prompt, generation) for prompt in prompts for generation in range(num_generations)]
        each = [
            settings.model_copy(update={"seed": _seed(seed, *prompt.key, generation)}) for prompt, generation in whose
        ]
        batch = Batch(self._model, [prompt.tokens for prompt in prompts], each, self._decoder, copies=num_generations)
        tokens: list[list[int]] = [[] for _ in whose]
        logprobs: list[list[tuple[float, float]]] = [[] for _ in whose]
        while batch.requests:
            draw = batch.draw()
            measured = _logprobs(draw.logits, draw.tokens, settings.temperature)
            for row in draw.open:
                tokens[draw.requests[row]].append(draw.tokens[row])
                logprobs[draw.requests[row]].append(measured[row])
            batch.end({draw.requests[row] for row in draw.open if draw.tokens[row] in self._stop_ids})
        return [
            Rollout(
                prompt,
                generation,
                tuple(ids),
                tuple(plain for plain, _ in measures),
                tuple(tempered for _, tempered in measures),
                "stop" if ids[-1] in self._stop_ids else "length",
            )
            for (prompt, generation), ids, measures in zip(whose, tokens, logprobs, strict=True)
        ]


@torch.inference_mode()
def _logprobs(logits: Tensor, tokens: list[int], temperature: float) -> list[tuple[float, float]]:
    """Per row, the log-probability of its token at temperature 1 and at `temperature`."""
    rows = in_rows(logits).float()
    places = torch.tensor(tokens, device=rows.device)[:, None]

    def at(scaled: Tensor) -> list[float]:
        found: list[float] = (scaled.gather(1, places).squeeze(1) - scaled.logsumexp(1)).tolist()
        return found

    plain = at(rows)
    return list(zip(plain, plain if temperature == 1 else at(rows / temperature), strict=True))


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
