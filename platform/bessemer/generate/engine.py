"""The generation engine: continues many prompts in one batch.

One pass reads all prompts of a batch, with shorter prompts padded at the end. Then every step feeds each row its last
token. Keys and values are cached (`model/cache.py`), so the cost of a token does not depend on the length of its text.
Finished rows are removed from the batch when at least half of the rows are finished. All removals together copy at most
as much data as the cache holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bessemer import storage
from bessemer.errors import UsageError
from bessemer.generate.decoder import Decoder
from bessemer.generate.sampling import TokenSampler
from bessemer.generate.settings import GenerationSettings
from bessemer.generate.text import TextStream
from bessemer.model import hub
from bessemer.model.cache import KeyValueCache
from bessemer.model.hardware import choose_device
from bessemer.model.transformer import Transformer
from bessemer.tokens.tokenizer import TokenizerFolder

MAX_BATCH_SIZE = 32


@dataclass(frozen=True)
class Completion:
    """The continuation of a prompt. `tokens` does not include the stop token."""

    text: str
    tokens: tuple[int, ...]
    finish_reason: Literal["stop", "length"]


class Generator:
    """A model with its tokenizer. Generation of a text ends at any of `stop_tokens`."""

    def __init__(self, model: Transformer, tokenizer: TokenizerFolder, stop_tokens: frozenset[int]) -> None:
        self.model = model.eval()
        self.decoder = Decoder(model)
        self.tokenizer = tokenizer
        self.stop_tokens = stop_tokens

    @classmethod
    def load(
        cls, folder: Path, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Generator:
        """Loads a Hugging Face folder. By default, uses the number type of its weights, and this process's GPU or CPU.

        Raises UsageError for reward models and models of masked tokens, which cannot generate.
        """
        tokenizer = TokenizerFolder.open(folder)
        ends = (storage.read_json(folder / "generation_config.json") or {}).get("eos_token_id")
        ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
        found = hub.load_config(folder)
        if found.is_reward:
            raise UsageError(
                f"the model in `{folder}` is a reward model and cannot generate text",
                hint="use the language model from which it was trained",
            )
        if not found.is_causal:
            raise UsageError(
                f"the model in `{folder}` was trained to fill in masked tokens and cannot continue a text",
                hint="fill in a blank: bessemer generate MODEL --fill 'The ___ is blue.'",
            )
        model = hub.load_model(folder, dtype=dtype or hub.stored_dtype(folder), device=device or choose_device())
        return cls(model, tokenizer, frozenset(ends) or frozenset([tokenizer.end_of_text_id]))

    def stream(self, prompt: str, settings: GenerationSettings | None = None) -> Iterator[str]:
        """Yields the continuation of `prompt` in pieces, as they are generated.

        Raises UsageError for a prompt that does not fit into the context.
        """
        return self.stream_tokens(self.encode(prompt), settings or GenerationSettings(), self.stop_tokens)

    def stream_tokens(
        self,
        prompt: Sequence[int],
        settings: GenerationSettings,
        stop_tokens: Collection[int],
        *,
        skip_special: bool = False,
    ) -> Iterator[str]:
        """Like `stream`, but takes the prompt as tokens and the tokens that end the text."""
        text = TextStream(self.tokenizer.tokenizer, settings.stop, skip_special=skip_special)
        batch = Batch(self.model, [prompt], [settings], self.decoder)
        while batch.requests:
            [(_, token)] = batch.step()
            if token in stop_tokens:
                break
            if piece := text.push(token):
                yield piece
            if text.stopped:
                return
        if piece := text.finish():
            yield piece

    def generate(
        self, prompts: Sequence[str], settings: GenerationSettings | Sequence[GenerationSettings] | None = None
    ) -> list[Completion]:
        """One completion per prompt, in the same order.

        If `settings` is a single value, it applies to all prompts, and its seed increases by 1 per prompt.
        """
        settings = settings or GenerationSettings()
        each = settings.counted(len(prompts)) if isinstance(settings, GenerationSettings) else list(settings)
        assert len(each) == len(prompts), "`settings` needs one entry per prompt"
        encoded = [self.encode(prompt) for prompt in prompts]
        order = sorted(range(len(prompts)), key=lambda i: -len(encoded[i]))
        completions: dict[int, Completion] = {}
        for start in range(0, len(order), MAX_BATCH_SIZE):
            chosen = order[start : start + MAX_BATCH_SIZE]
            answers = self.complete([encoded[i] for i in chosen], [each[i] for i in chosen])
            completions |= dict(zip(chosen, answers, strict=True))
        return [completions[i] for i in range(len(prompts))]

    def encode(self, prompt: str) -> list[int]:
        """The tokens of a prompt, preceded by the tokens that the tokenizer adds before a text (BOS).

        This is as in `transformers`. Without any tokens, returns the end-of-text token, after which a new text starts.
        """
        tokenizer = self.tokenizer
        return [*tokenizer.begin_ids, *tokenizer.encode(prompt)] or [tokenizer.end_of_text_id]

    def complete(self, prompts: list[list[int]], settings: list[GenerationSettings]) -> list[Completion]:
        """The completions of prompts given as tokens, all in one batch."""
        streams = [TextStream(self.tokenizer.tokenizer, s.stop) for s in settings]
        texts: list[list[str]] = [[] for _ in prompts]
        tokens: list[list[int]] = [[] for _ in prompts]
        stopped = [False] * len(prompts)
        batch = Batch(self.model, prompts, settings, self.decoder)
        while batch.requests:
            for request, token in batch.step():
                stopped[request] = token in self.stop_tokens
                if not stopped[request]:
                    tokens[request].append(token)
                    texts[request].append(streams[request].push(token))
                    stopped[request] = streams[request].stopped
            batch.end({request for request in batch.requests if stopped[request]})
        return [
            Completion("".join(text) + stream.finish(), tuple(ids), "stop" if ended else "length")
            for text, stream, ids, ended in zip(texts, streams, tokens, stopped, strict=True)
        ]


@dataclass(frozen=True)
class Draw:
    """The tokens that one step of a batch drew."""

    requests: tuple[int, ...]
    """The request of each row."""
    open: tuple[int, ...]
    """The rows whose requests had not ended before this step. Tokens of other rows are meaningless."""
    tokens: list[int]
    """The drawn token of each row."""
    logits: Tensor
    """[rows, V]; may be column-major."""


class Batch:
    """A batch of requests that are generated together.

    Each prompt becomes `copies` consecutive requests but is read only once. `settings` has one entry per request.
    `requests` holds the indices of the unfinished requests.
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        settings: Sequence[GenerationSettings],
        decoder: Decoder | None = None,
        *,
        copies: int = 1,
    ) -> None:
        context = model.config.max_position_embeddings
        for prompt in prompts:
            assert prompt, "a prompt must have at least one token"
            if len(prompt) >= context:
                raise UsageError(
                    f"the prompt has {len(prompt)} tokens, but the model's context holds {context}",
                    hint=f"shorten it to fewer than {context} tokens",
                )
        self._decoder = decoder or Decoder(model)
        self._device = model.embed_tokens.device
        self._copied = [number for number in range(len(prompts)) for _ in range(copies)]
        lengths = [len(prompts[number]) for number in self._copied]
        self._limits = [min(s.max_new_tokens, context - n) for n, s in zip(lengths, settings, strict=True)]
        self._rows = list(range(len(lengths)))  # the request of each row of the cache, including finished ones
        self.requests = set(self._rows)
        self._sampler = TokenSampler.of(settings, self._device)
        self._numbers = _numbers(settings, max(self._limits)).to(self._device)
        self._step = 0
        capacity = max(n + limit for n, limit in zip(lengths, self._limits, strict=True))
        self._cache = KeyValueCache(
            model.config, len(prompts), capacity, dtype=model.compute_dtype, device=self._device
        )
        self._counts = [len(prompt) for prompt in prompts]
        padded = [[*prompt, *[0] * (max(self._counts) - len(prompt))] for prompt in prompts]
        self._inputs = torch.tensor(padded, device=self._device)

    def step(self) -> list[tuple[int, int]]:
        """Generates one token for every unfinished request. Returns pairs (request, token).

        Requests that reach their length limit end.
        """
        draw = self.draw()
        return [(draw.requests[row], draw.tokens[row]) for row in draw.open]

    @torch.inference_mode()
    def draw(self) -> Draw:
        """Like `step`, but returns all rows and their logits."""
        at = None if self._step else [count - 1 for count in self._counts]
        logits = self._decoder.step(self._inputs, self._cache, at)
        self._cache.advance(self._counts)
        if self._step == 0 and len(self._copied) > len(logits):
            self._cache.take_rows(self._copied)
            logits = logits[self._copied]
        self._inputs = self._sampler.draw(logits, self._numbers[:, self._step])
        self._step += 1
        rows = tuple(row for row, request in enumerate(self._rows) if request in self.requests)
        draw = Draw(tuple(self._rows), rows, self._inputs.tolist(), logits)
        self.end({request for request in self.requests if self._step >= self._limits[request]})
        return draw

    def end(self, requests: set[int]) -> None:
        """Ends some requests. Their rows are removed once at least half of the batch's rows are finished."""
        self.requests -= requests
        if self.requests and 2 * len(self.requests) <= len(self._rows):
            places = [place for place, request in enumerate(self._rows) if request in self.requests]
            self._cache.take_rows(places)
            self._sampler = self._sampler.rows(places)
            self._numbers, self._inputs = self._numbers[places], self._inputs[places]
            self._rows = [self._rows[place] for place in places]
        self._counts = [int(request in self.requests) for request in self._rows]


def _numbers(settings: Sequence[GenerationSettings], count: int) -> Tensor:
    """Uniform random numbers [B, count]. Each row depends on the seed in its settings only."""
    return torch.from_numpy(np.stack([np.random.default_rng(s.seed).random(count, np.float32) for s in settings]))
