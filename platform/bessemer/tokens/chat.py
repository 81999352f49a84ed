"""Conversations as tokens. One object renders them for training, alignment, serving and generation.

    template = ChatTemplate.of(tokenizer)
    conversation = template.encode(messages)      # .ids, and .learned: which of them are in the loss
    ids = template.prompt(messages)               # ends where the assistant begins to write
    template.stop_ids                             # the tokens that end an answer

The template is the tokenizer's own Jinja template, in the environment that `transformers` gives it, so what is rendered
is what every other tool renders from the exported folder. Contents go through it as placeholders: special tokens come
from the template alone, and a user who writes `<|im_end|>` has written nine characters. Between special tokens text is
encoded in one piece, template and content together, as `transformers` would.

In the loss are an assistant's contents with the special token that ends each of them; without that token in it a model
learns to answer and never to stop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bessemer.errors import InputError
from bessemer.tokens.tokenizer import TokenizerFolder

Message = Mapping[str, Any]
"""`role` and `content`, as in OpenAI's and Hugging Face's formats."""

ASSISTANT = "assistant"
_OPEN, _CLOSE = "\ue000", "\ue001"
_PLACEHOLDER = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


@dataclass(frozen=True)
class Conversation:
    """Token ids of a conversation, and whether each is learned to be written."""

    ids: npt.NDArray[np.int64]
    learned: npt.NDArray[np.bool_]


class _Piece(NamedTuple):
    """A part of what the template wrote: a special token, or text from the template or from a message."""

    text: str
    special: int | None
    learned: bool


@dataclass(frozen=True)
class ChatTemplate:
    tokenizer: TokenizerFolder

    @classmethod
    def of(cls, tokenizer: TokenizerFolder) -> ChatTemplate:
        """The tokenizer's template. Raises InputError where it has none, or one that cannot be used."""
        found = cls(tokenizer)
        if not tokenizer.chat_template:
            raise InputError(
                f"the tokenizer `{tokenizer.name}` has no chat template",
                hint="train one with the stage `tokenizer`, or add `chat_template` to its `tokenizer_config.json`",
            )
        assert found.stop_ids
        return found

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """The text, as `apply_chat_template(tokenize=False)` gives it. Raises InputError if the template refuses."""
        try:
            text: str = self._compiled.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=add_generation_prompt,
                **self._special_names,
            )
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:  # it computes in Python
            raise InputError(
                f"the chat template of `{self.tokenizer.name}` does not take the conversation: {error}",
                hint="look at the order of its roles, and at `chat_template` in `tokenizer_config.json`",
            ) from None
        return text

    def encode(self, messages: Sequence[Message]) -> Conversation:
        """The whole conversation. Raises InputError where an answer of the assistant has no token that ends it."""
        return self._encoded(list(self._pieces(messages, add_generation_prompt=False)))

    def prompt(self, messages: Sequence[Message]) -> npt.NDArray[np.int64]:
        """The ids up to where the assistant writes its next answer."""
        return self._encoded(list(self._pieces(messages, add_generation_prompt=True))).ids

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer: the template's own first, then the end of a text."""
        probe = self.encode([{"role": "user", "content": "?"}, {"role": ASSISTANT, "content": "!"}])
        if not probe.learned.any():
            raise InputError(
                f"the chat template of `{self.tokenizer.name}` does not write what the assistant says",
                hint="nothing could be learned with it; use a template such as ChatML",
            )
        last = int(probe.ids[np.flatnonzero(probe.learned)[-1]])
        return tuple(dict.fromkeys((last, self.tokenizer.end_of_text_id)))

    def _pieces(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> Iterator[_Piece]:
        hidden = [
            {**message, "content": f"{_OPEN}{number}{_CLOSE}"} if message.get("content") else message
            for number, message in enumerate(messages)
        ]
        rendered = self.render(hidden, add_generation_prompt=add_generation_prompt)
        open_answer = False
        for number, part in enumerate(_PLACEHOLDER.split(rendered)):
            if number % 2:
                message = messages[int(part)]
                open_answer = message["role"] == ASSISTANT
                yield _Piece(str(message["content"]), None, open_answer)
                continue
            for text, token in self._cut(part):
                if token is None:
                    yield _Piece(text, None, False)
                else:
                    yield _Piece(text, token, open_answer)  # the first special token after an answer ends it
                    open_answer = False
        if open_answer:
            raise InputError(
                f"the chat template of `{self.tokenizer.name}` ends an answer without a special token",
                hint="without one in the loss a model never stops; use a template such as ChatML",
            )

    def _cut(self, text: str) -> Iterator[tuple[str, int | None]]:
        """The template's own text, cut at its special tokens."""
        for part in self._specials.split(text):
            if part:
                yield part, self._special_ids.get(part)

    def _encoded(self, pieces: list[_Piece]) -> Conversation:
        ids: list[int] = []
        learned: list[bool] = []
        run: list[_Piece] = []

        def close() -> None:
            """Encodes the text since the last special token in one piece."""
            text, spans = "", []
            for piece in run:
                spans.append((len(text), len(text) + len(piece.text), piece.learned))
                text += piece.text
            tokens = self.tokenizer.encode_with_offsets(text)
            for token, start, _ in tokens:
                ids.append(token)
                learned.append(any(first <= start < end and wanted for first, end, wanted in spans))
            run.clear()

        for piece in pieces:
            if piece.special is None:
                run.append(piece)
            else:
                close()
                ids.append(piece.special)
                learned.append(piece.learned)
        close()
        return Conversation(np.array(ids, np.int64), np.array(learned, np.bool_))

    @cached_property
    def _special_ids(self) -> dict[str, int]:
        added = self.tokenizer.tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    @cached_property
    def _specials(self) -> re.Pattern[str]:
        longest_first = sorted(self._special_ids, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    @cached_property
    def _special_names(self) -> dict[str, str]:
        """`eos_token` and the like, which templates may use."""
        named = {}
        for key, value in self.tokenizer.settings.items():
            if key.endswith("_token") and value:
                named[key] = value["content"] if isinstance(value, dict) else value
        return named

    @cached_property
    def _compiled(self) -> Template:
        def raise_exception(message: str) -> None:
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = raise_exception
        try:
            return environment.from_string(self.tokenizer.chat_template or "")
        except TemplateError as error:
            raise InputError(
                f"the chat template of `{self.tokenizer.name}` is no Jinja template: {error}",
                hint="mend `chat_template` in `tokenizer_config.json`",
            ) from None
