"""Converts conversations to tokens with chat templates, for training, alignment, serving and generation.

    template = ChatTemplate.of(tokenizer)
    conversation = template.encode(messages)      # .ids, .learned (the mask of the loss), .start
    ids = template.prompt(messages)               # ends where the assistant's answer starts
    template.stop_ids                             # the tokens that end an answer

The tokenizer's Jinja template renders the whole conversation, as `transformers.apply_chat_template` does. The text is
encoded in one piece, so the ids equal those of every other tool. The learned tokens are found in the rendered text:

- A template with `{% generation %}` blocks marks them.
- Otherwise, an answer starts at the end of its prompt. The prompt is the template's text for the messages before the
  answer, with a generation prompt. The answer ends with the special token that ends the turn. Without that token in the
  loss, a model would not learn to stop. If the template adds reasoning or an empty think block after the prompt, it is
  part of the answer, because a model has to generate it.
- An answer is learned only if the tokens before it are those of the prompt. A template may render a turn differently
  once the conversation continues (for example, without its reasoning). Such a turn is context only.

Only the template can produce special tokens: `<|im_end|>` in a user's message is encoded as ten plain characters. This
is the only difference from `apply_chat_template`, which lets a message end a turn.

The cost is one rendering per conversation and one or two per answer. The text is encoded once. Templates of foreign
tokenizers are rendered in a child process (`template_process`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jinja2 import TemplateError

from bessemer.errors import InputError
from bessemer.tokens import chat_jinja, template_process
from bessemer.tokens.chat_placeholders import placeholders, replaced, swapped, swapped_with_places
from bessemer.tokens.tokenizer import TokenizerFolder

Message = Mapping[str, Any]
"""`role` and `content`, as in OpenAI's and Hugging Face's formats; also `tool_calls`, `reasoning_content`, ..."""
Variables = Mapping[str, Any]
"""Variables of a template other than the messages: `tools`, `documents` and others."""

ASSISTANT = "assistant"
WEIGHT = "weight"
"""Key of a message. The value 0 keeps an answer out of the loss. The key is not passed to the template."""
_SPECIAL_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_MARK = "\ue000"
KEPT_CHARACTERS, KEPT_TEXTS = 100, 1000
"""Maximum length and maximum number of prompt ends whose ids are cached."""


class TemplateRefusal(InputError):
    """A chat template rejected a conversation."""


@dataclass(frozen=True)
class Conversation:
    """The token ids of a conversation, and the mask of the learned tokens."""

    ids: npt.NDArray[np.int64]
    learned: npt.NDArray[np.bool_]
    """Whether each token is in the loss."""
    start: int | None
    """Number of tokens before the last answer; None if they differ from the tokens of its prompt."""
    last_end: int
    """Number of tokens up to and including the end token of the last answer."""
    problem: str = ""
    """The reason why `start` is None."""
    endless: bool = False
    """Whether the reason is that no special token ends the last answer."""


class _Text(NamedTuple):
    """An encoded text. Each array has one entry per token: id, start and end in characters, whether it is special."""

    text: str
    ids: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    special: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ChatTemplate:
    tokenizer: TokenizerFolder

    @classmethod
    def of(cls, tokenizer: TokenizerFolder) -> ChatTemplate:
        """The chat template of a tokenizer. Raises InputError if the tokenizer has none or if it is unusable."""
        found = cls(tokenizer)
        if not tokenizer.chat_templates:
            raise InputError(
                f"the tokenizer `{tokenizer.name}` has no chat template",
                hint="set a template file in the recipe, `tokenizer: {chat_template: FILE}`, or add `chat_template` to "
                "the `tokenizer_config.json` of the tokenizer",
            )
        assert found.stop_ids
        return found

    def render(
        self, messages: Sequence[Message], variables: Variables | None = None, *, add_generation_prompt: bool = False
    ) -> str:
        """The rendered text, as from `apply_chat_template(tokenize=False)`. Raises TemplateRefusal."""
        return self._render(messages, variables or {}, add_generation_prompt=add_generation_prompt).text

    def encode(self, messages: Sequence[Message], variables: Variables | None = None) -> Conversation:
        """Encodes the whole conversation. Raises TemplateRefusal."""
        return _Encoding(self, messages, variables or {}).conversation()

    def prompt(self, messages: Sequence[Message], variables: Variables | None = None) -> npt.NDArray[np.int64]:
        """The ids of the conversation up to the start of the assistant's next answer. Raises TemplateRefusal."""
        return _Encoding(self, messages, variables or {}).prompt(len(messages)).ids

    def writes(self, name: str, variables: Variables | None = None) -> bool:
        """Whether the template mentions `name`, a variable or a key of messages."""
        return chat_jinja.reads(self._source(variables or {}), name)

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end an answer: the template's end of turn, its end of a tool call, and the end-of-text token."""
        asked, calls = {"role": "user", "content": "?"}, [{"type": "function", "function": dict(_CALL)}]
        plain = _Encoding(self, [asked, {"role": ASSISTANT, "content": "!"}], {})
        place = plain.written(1) if plain.whole.text else None
        if place is None:
            raise InputError(
                f"the chat template of `{self.tokenizer.name}` leaves out the assistant's messages",
                hint="use a template such as ChatML; with this one, a model could learn no answer",
            )
        found = plain.first_special_after(place)
        if found is None:
            raise InputError(
                f"the chat template of `{self.tokenizer.name}` ends an answer without a special token",
                hint="use a template such as ChatML; with this one, a model could not learn to stop",
            )
        ends = [int(plain.whole.ids[found])]
        if self.writes("tool_calls"):
            try:
                call = _Encoding(self, [asked, {"role": ASSISTANT, "content": "", "tool_calls": calls}], {})
                ends += [int(call.whole.ids[last])] if (last := call.end(1)) is not None else []
            except InputError:
                pass  # the template supports calls of another form only
        return tuple(dict.fromkeys((*ends, self.tokenizer.end_of_text_id)))

    def _render(
        self, messages: Sequence[Message], variables: Variables, *, add_generation_prompt: bool
    ) -> chat_jinja.Rendering:
        given = [{key: value for key, value in message.items() if key != WEIGHT} for message in messages]
        try:
            return template_process.render(
                self._source(variables),
                given,
                self._special_names | dict(variables),
                add_generation_prompt=add_generation_prompt,
            )
        except chat_jinja.REFUSALS as error:
            raise TemplateRefusal(
                f"the chat template of `{self.tokenizer.name}` does not take the conversation: {error}",
                hint="check the order of the conversation's roles, and `chat_template` in `tokenizer_config.json`",
            ) from None

    def _source(self, variables: Variables) -> str:
        """The Jinja source for a row. With tools, it is the template `tool_use` if it exists, as in `transformers`."""
        templates = self.tokenizer.chat_templates
        name = "tool_use" if variables.get("tools") is not None and "tool_use" in templates else "default"
        if name not in templates:
            raise InputError(
                f"the tokenizer `{self.tokenizer.name}` has several chat templates, but none is called `default`",
                hint="name one of them `default`, or set `chat_template` of the stage `tokenizer`",
            )
        try:
            template_process.check_syntax(templates[name])
        except TemplateError as error:
            raise InputError(
                f"the chat template of `{self.tokenizer.name}` is not a Jinja template: {error}",
                hint="correct `chat_template` in `tokenizer_config.json`",
            ) from None
        return templates[name]

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """The ids of special tokens by their text. Includes `eos_token` even if `tokenizer.json` does not mark it."""
        added = self.tokenizer.tokenizer.get_added_tokens_decoder()
        end = self._special_names.get("eos_token")
        return {
            token.content: number
            for number, token in added.items()
            if token.content and (token.special or token.content == end)
        }

    @cached_property
    def is_special(self) -> npt.NDArray[np.bool_]:
        """Whether each id is a special token, bool[vocab_size]."""
        found = np.zeros(self.tokenizer.vocab_size, np.bool_)
        found[list(self.special_ids.values())] = True
        return found

    def ids_of(self, text: str) -> npt.NDArray[np.int64]:
        """The ids of a part of a rendered text. Ids of short parts are cached, because most prompts end with them."""
        if (known := self._known.get(text)) is not None:
            return known
        ids = np.array(self.tokenizer.encode(text, recognise_special=True), np.int64)
        if len(text) <= KEPT_CHARACTERS and len(self._known) < KEPT_TEXTS:
            self._known[text] = ids
        return ids

    @cached_property
    def _known(self) -> dict[str, npt.NDArray[np.int64]]:
        return {}

    @cached_property
    def _special_names(self) -> dict[str, str]:
        """Names such as `eos_token` with their tokens, for use in templates."""
        named = {}
        for key in (f"{name}_token" for name in _SPECIAL_NAMES):
            if value := self.tokenizer.settings.get(key):
                named[key] = value["content"] if isinstance(value, dict) else value
        return named


_CALL = {"name": "look", "arguments": {"at": "it"}}


class _Encoding:
    """The encoding of one conversation: its rendered text, its tokens, and the position of each answer."""

    def __init__(self, template: ChatTemplate, messages: Sequence[Message], variables: Variables) -> None:
        self._template = template
        self._messages, self._variables = messages, variables
        self._placeholders = placeholders(template.special_ids, [messages, variables])
        if self._placeholders:
            literal = {placeholder: text for text, placeholder in self._placeholders.items()}
            plain = template.render(messages, variables)
            self._messages = [replaced(message, self._placeholders) for message in messages]
            self._variables = replaced(variables, self._placeholders)
            if swapped(self._rendering.text, literal) != plain:
                raise TemplateRefusal(
                    f"the chat template of `{template.tokenizer.name}` looks for special tokens in a message",
                    hint="leave special tokens out of messages",
                )

    def conversation(self) -> Conversation:
        answers = [number for number, message in enumerate(self._messages) if message["role"] == ASSISTANT]
        learned = np.zeros(len(self.whole.ids), np.bool_)
        start, end, problem = None, None, "nothing is answered"
        for number in answers:
            if self._marked and number != answers[-1]:
                continue
            start, problem = self._start(number)
            end = self.end(number)
            if start is not None and end is not None and not self._marked and self._messages[number].get(WEIGHT, 1):
                learned[start : end + 1] = True
        if self._marked:
            for first, last in self._generated(answers):
                learned |= (self.whole.starts < last) & (self.whole.ends > first)
            if start is not None and self._messages[answers[-1]].get(WEIGHT, 1):
                if not learned[start]:
                    start, problem = None, "`{% generation %}` does not cover the beginning of the answer"
                elif end is not None and not learned[end]:
                    end = None
        endless = start is not None and end is None
        if endless:
            start, problem = None, "the chat template ends the answer without a special token that is learned"
        last = len(self.whole.ids) if end is None else end + 1
        return Conversation(self.whole.ids, learned, start, last, problem, endless)

    def _generated(self, answers: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The spans of `{% generation %}` blocks in characters, without those of answers with weight 0."""
        weights = [self._messages[number].get(WEIGHT, 1) for number in answers]
        places = [self.written(number) or 0 for number in answers] if not all(weights) else []
        for first, last in self._rendering.generated:
            owner = next((n for n, place in enumerate(places) if first < place), len(places) - 1)
            if last > first and (not places or weights[owner]):
                yield first, last

    def prompt(self, number: int) -> _Text:
        """The encoded prompt before message `number`."""
        return self._encode(self._render(self._messages[:number], add_generation_prompt=True).text)

    def end(self, number: int) -> int | None:
        """The index of the token that ends answer `number`; None if no special token ends it."""
        whole, last = self.whole, len(self._messages) - 1
        until = len(whole.text)
        if number < last:
            try:
                alone = self._render(self._messages[: number + 1]).text
            except TemplateRefusal:
                alone = None
            if alone is None or not whole.text.startswith(alone):
                return self.first_special_after(self.written(number))
            until = len(alone)
        before = np.flatnonzero(whole.special & (whole.starts < until))
        if not len(before) or whole.text[whole.ends[before[-1]] : until].strip():
            return None
        return int(before[-1])

    def written(self, number: int) -> int | None:
        """The position after the last text of message `number` in the rendered text, in characters.

        None if the template leaves out the text.
        """
        for marked in _marked(self._messages[number]):
            try:
                changed = [*self._messages[:number], marked, *self._messages[number + 1 :]]
                _, found, after = self._render(changed).text.rpartition(_MARK)
            except TemplateRefusal:
                continue
            if found and self.whole.text.endswith(after):
                return len(self.whole.text) - len(after)
        return None

    def first_special_after(self, place: int | None) -> int | None:
        """The index of the first special token that starts at character `place` or later."""
        if place is None:
            return None
        found = np.flatnonzero(self.whole.special & (self.whole.starts >= place))
        return int(found[0]) if len(found) else None

    @cached_property
    def whole(self) -> _Text:
        return self._encode(self._rendering.text)

    @cached_property
    def _rendering(self) -> chat_jinja.Rendering:
        return self._render(self._messages)

    @cached_property
    def _marked(self) -> bool:
        return chat_jinja.marks_answers(self._template._source(self._variables))

    def _start(self, number: int) -> tuple[int | None, str]:
        """The index of the first token of answer `number`; None and a reason if the text before is not its prompt."""
        whole, prompt = self.whole, self._render(self._messages[:number], add_generation_prompt=True).text
        if not whole.text.startswith(prompt):
            same = next(n for n, (a, b) in enumerate(zip(prompt, f"{whole.text}\0", strict=False)) if a != b)
            written, asked = whole.text[same : same + 30], prompt[same : same + 30]
            return None, f"the prompt has {asked!r} where the answered conversation has {written!r}"
        # Parts between special tokens are encoded independently, so only the part after the last one can differ.
        inside = np.flatnonzero(whole.special & (whole.starts < len(prompt)))
        first = int(inside[-1]) if len(inside) else 0
        rest = prompt[whole.starts[first] if len(inside) else 0 :]
        ids = self._encode(rest).ids if self._placeholders else self._template.ids_of(rest)
        if not np.array_equal(whole.ids[first : first + len(ids)], ids):
            joined = whole.text[max(0, len(prompt) - 10) : len(prompt) + 10]
            return None, f"a token joins the end of the prompt with the answer's first characters: {joined!r}"
        return first + len(ids), ""

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> chat_jinja.Rendering:
        return self._template._render(messages, self._variables, add_generation_prompt=add_generation_prompt)

    def _encode(self, text: str) -> _Text:
        """Encodes a rendered text. Placeholders become the text of their special token as plain characters."""
        found = self._template.tokenizer.encode_with_offsets(text, recognise_special=True)
        tokens = list(self._written_out(text, found)) if self._placeholders else found
        table = np.fromiter(chain.from_iterable(tokens), np.int64, 3 * len(tokens)).reshape(len(tokens), 3)
        ids, starts, ends = table.transpose()
        special = self._template.is_special[ids]
        if self._placeholders:
            special &= np.array([text[start:end] not in self._placeholders.values() for _, start, end in tokens], bool)
        return _Text(text, ids, starts, ends, special)

    def _written_out(self, text: str, tokens: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
        """(id, start, end) of the tokens of a text, in which placeholders are encoded as the text that they replace."""
        done = 0
        literal = {placeholder: written for written, placeholder in self._placeholders.items()}
        for token, start, end in [*tokens, (-1, len(text), len(text))]:
            if token != -1 and not self._template.is_special[token]:
                continue
            between, places = swapped_with_places(text[done:start], literal)
            for inner, first, last in self._template.tokenizer.encode_with_offsets(between):
                yield inner, done + places[first], done + places[max(first, last - 1)] + 1
            if token != -1:
                yield token, start, end
            done = end


def _marked(message: Message) -> Iterator[dict[str, Any]]:
    """Yields copies of the message with a mark: at the end of its last tool call, then at the end of its content."""
    if calls := message.get("tool_calls"):
        function = dict(calls[-1]["function"])
        arguments = function.get("arguments")
        if isinstance(arguments, Mapping):
            last = [*arguments][-1] if arguments else _MARK
            function["arguments"] = {**arguments, last: f"{arguments.get(last, '')}{_MARK}"}
        else:
            function["arguments"] = f"{arguments or ''}{_MARK}"
        yield {**message, "tool_calls": [*calls[:-1], {**calls[-1], "function": function}]}
    yield {**message, "content": f"{message.get('content') or ''}{_MARK}"}
