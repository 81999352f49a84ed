"""Answers of the policy to its own prompts, with the log-probability of every token, for policy gradients.

    sampler = RolloutSampler(model, stop_ids=template.stop_ids)
    rollouts = sampler.sample(prompts, num_generations=8, settings=settings, seed=step)
    sampler.update(dict(trained.named_parameters()))       # the next answers are those of the trained weights

A prompt is read once for all its answers, whose caches begin as copies of the prompt's. An answer depends on the seed,
the prompt's key and its own number in the group. The rest of the batch changes its logits by rounding alone (up to 0.01
in bf16), because matrix products of other shapes add in another order.

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
"""Answers that are written side by side, at most; a group is never cut."""


@dataclass(frozen=True)
class Prompt:
    """A prompt in tokens; `number` is its place in the data set."""

    number: int
    tokens: tuple[int, ...]
    key: tuple[int, ...]
    """Non-negative numbers that seed its answers. Prompts of one call have distinct keys: equal keys give equal answers
    to equal prompts."""


@dataclass(frozen=True)
class Rollout:
    """One answer to a prompt."""

    prompt: Prompt
    generation: int
    """Its number in the group."""
    tokens: tuple[int, ...]
    """The token that stopped it is the last one."""
    logprobs: tuple[float, ...]
    """Of each token, at temperature 1."""
    sampling_logprobs: tuple[float, ...]
    """Of each token, at the temperature it was drawn with."""
    finish_reason: Literal["stop", "length"]


class RolloutSampler:
    """Writes answers with a model of its own, whose weights `update` replaces. `stop_ids` end an answer."""

    def __init__(self, model: Transformer, *, stop_ids: Collection[int]) -> None:
        self._model = model.eval()
        self._stop_ids = frozenset(stop_ids)
        self._decoder = Decoder(model)

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Takes over weights, named as in `Transformer.named_parameters`, from any floating type and device."""
        parameters = dict(self._model.named_parameters())
        assert parameters.keys() == weights.keys(), f"other weights: {sorted(parameters.keys() ^ weights.keys())}"
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
        self._decoder = Decoder(self._model)

    def sample(
        self, prompts: Sequence[Prompt], *, num_generations: int, settings: GenerationSettings, seed: int
    ) -> list[Rollout]:
        """`num_generations` answers to each prompt in succession, prompts in their order.

        The seed of `settings` is not used, nor are its texts to stop at. Raises UsageError for a prompt that fills the
        model's context.
        """
        assert len({prompt.key for prompt in prompts}) == len(prompts), "equal keys would give equal answers"
        assert settings.temperature > 0, "answers that are all the same teach nothing"
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
    """By row, the token's log-probability at temperature 1 and at `temperature`."""
    rows = in_rows(logits).float()
    places = torch.tensor(tokens, device=rows.device)[:, None]

    def at(scaled: Tensor) -> list[float]:
        found: list[float] = (scaled.gather(1, places).squeeze(1) - scaled.logsumexp(1)).tolist()
        return found

    plain = at(rows)
    return list(zip(plain, plain if temperature == 1 else at(rows / temperature), strict=True))


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
