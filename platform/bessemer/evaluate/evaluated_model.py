"""The model under test, with its tokenizer. It is loaded once and shared by all tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from bessemer.errors import UsageError
from bessemer.generate.engine import MAX_BATCH_SIZE, Completion, Generator
from bessemer.generate.settings import GenerationSettings
from bessemer.model.transformer import Transformer
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.store import TokenStore
from bessemer.tokens.tokenizer import TokenizerFolder


@dataclass(frozen=True)
class EvaluatedModel:
    """A loaded model with its tokenizer and its text generator."""

    generator: Generator

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype, device: torch.device) -> EvaluatedModel:
        return cls(Generator.load(folder, dtype=dtype, device=device))

    @property
    def model(self) -> Transformer:
        return self.generator.model

    @property
    def tokenizer(self) -> TokenizerFolder:
        return self.generator.tokenizer

    @property
    def context(self) -> int:
        """The model's context length in tokens."""
        return self.model.config.max_position_embeddings

    @property
    def device(self) -> torch.device:
        return self.model.embed_tokens.device

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes many texts on all cores. The spelling of a special token in a text is encoded as plain text."""
        tokenizer = self.tokenizer.tokenizer
        tokenizer.encode_special_tokens = True
        return [found.ids for found in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def check_tokens(self, store: TokenStore) -> None:
        """Raises UsageError unless the store was tokenized with the model's tokenizer."""
        if not np.array_equal(store.token_bytes, self.tokenizer.token_bytes):
            raise UsageError(
                "the tokens were made with another tokenizer than the model's",
                hint="put `tokenize` with the model's tokenizer before `evaluate`",
            )

    def complete(
        self,
        prompts: Sequence[list[int]],
        settings: GenerationSettings | Sequence[GenerationSettings],
        *,
        is_conversation: bool = False,
    ) -> list[Completion]:
        """Returns one completion per prompt. In a conversation, the chat template's stop tokens end a completion.

        If all prompts share one `settings`, the seed increases by 1 per prompt.
        """
        generator = self._chat_generator if is_conversation else self.generator
        each = settings.counted(len(prompts)) if isinstance(settings, GenerationSettings) else settings
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        found: dict[int, Completion] = {}
        for start in range(0, len(order), MAX_BATCH_SIZE):
            chosen = order[start : start + MAX_BATCH_SIZE]
            answers = generator.complete([prompts[i] for i in chosen], [each[i] for i in chosen])
            found |= dict(zip(chosen, answers, strict=True))
        return [found[i] for i in range(len(prompts))]

    def without_special(self, text: str) -> str:
        """The text without special tokens."""
        return self._special.sub("", text)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        added = self.tokenizer.tokenizer.get_added_tokens_decoder().values()
        return re.compile("|".join(re.escape(token.content) for token in added if token.special))

    @cached_property
    def _chat_generator(self) -> Generator:
        return Generator(self.model, self.tokenizer, frozenset(self.chat.stop_ids))

    @cached_property
    def chat(self) -> ChatTemplate:
        """The tokenizer's chat template. Raises InputError if it has none."""
        return ChatTemplate.of(self.tokenizer)
