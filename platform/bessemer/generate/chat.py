"""A conversation with a model that was trained to answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.errors import UsageError
from bessemer.formatting import format_count
from bessemer.generate.engine import Generator
from bessemer.generate.settings import GenerationSettings
from bessemer.tokens.chat import ASSISTANT, ChatTemplate
from bessemer.tokens.conversations import Messages


class Chat:
    """A conversation. `reply` streams an answer and keeps both messages as a turn.

    When the context is full, the oldest turns are dropped. The system message `system` is never dropped. Raises
    InputError if the model's tokenizer has no chat template.
    """

    def __init__(self, generator: Generator, settings: GenerationSettings, system: str | None = None) -> None:
        self._generator, self._settings = generator, settings
        self._template = ChatTemplate.of(generator.tokenizer)
        self._system: Messages = [{"role": "system", "content": system}] if system else []
        self._turns: list[Messages] = []
        self._asked = 0
        self.forgotten = 0
        """Number of turns dropped from the context for the last reply."""

    @classmethod
    def load(cls, folder: Path, settings: GenerationSettings, system: str | None = None) -> Chat:
        """Starts a conversation with the model in a Hugging Face folder."""
        return cls(Generator.load(folder), settings, system)

    @property
    def facts(self) -> str:
        """The size of the model and of its context, for a person."""
        config = self._generator.model.config
        return f"{format_count(config.num_parameters())} parameters, context of {config.max_position_embeddings} tokens"

    def reset(self) -> None:
        """Drops all turns; the system message stays."""
        self._turns.clear()
        self._asked = self.forgotten = 0

    def reply(self, text: str) -> Iterator[str]:
        """Yields the answer to `text` in pieces, without special tokens. An interrupted answer is kept up to that
        point.

        Raises UsageError if `text` does not fit into the model's context even without earlier turns.
        """
        asked = {"role": "user", "content": text}
        return self._answer(asked, self._prompt(asked))

    def _answer(self, asked: dict[str, str], prompt: list[int]) -> Iterator[str]:
        settings = self._settings.model_copy(update={"seed": self._settings.seed + self._asked})
        answer = ""
        try:
            for piece in self._generator.stream_tokens(prompt, settings, self._template.stop_ids, skip_special=True):
                answer += piece
                yield piece
        finally:
            self._asked += 1
            self._turns.append([asked, {"role": ASSISTANT, "content": answer}])

    def _prompt(self, asked: dict[str, str]) -> list[int]:
        """The tokens of the conversation. Drops the oldest turns until the longest allowed answer fits."""
        context = self._generator.model.config.max_position_embeddings
        for forgotten in range(len(self._turns) + 1):
            kept = [message for turn in self._turns[forgotten:] for message in turn]
            prompt: list[int] = self._template.prompt([*self._system, *kept, asked]).tolist()
            if len(prompt) + self._settings.max_new_tokens <= context:
                break
        if len(prompt) >= context:
            raise UsageError(
                f"the message has {len(prompt)} tokens{' including the system message' if self._system else ''}, but "
                f"the model's context holds {context}",
                hint=f"shorten it to fewer than {context} tokens",
            )
        self.forgotten = forgotten
        del self._turns[:forgotten]
        return prompt
