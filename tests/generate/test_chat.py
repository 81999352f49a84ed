"""A conversation keeps its turns, formats them with the chat template, and drops the oldest if the context is full."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from bessemer.cli.models import chat
from bessemer.errors import UsageError
from bessemer.generate.chat import Chat
from bessemer.generate.engine import Generator
from bessemer.generate.settings import GenerationSettings
from bessemer.model.config import ModelShape
from bessemer.model.hub import export_model
from bessemer.model.transformer import Transformer
from bessemer.tokens.bpe_training import train_tokenizer
from bessemer.tokens.chat import ChatTemplate
from bessemer.tokens.tokenizer import TokenizerFolder

TEXTS = ["Hello there, how are you today? I am fine. What is 2 + 2? It is 4.", "system user assistant"] * 20
SETTINGS = GenerationSettings(max_new_tokens=10)
TOKENIZER = TokenizerFolder.trained(train_tokenizer(TEXTS, 400))
TEMPLATE = ChatTemplate.of(TOKENIZER)


class Scripted:
    """A fake generator that always gives the same answer, in pieces, and records its prompts."""

    def __init__(self, *pieces: str, context: int = 200) -> None:
        self.pieces, self.tokenizer = pieces, TOKENIZER
        self.model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=context))
        self.prompts: list[list[int]] = []
        self.seeds: list[int] = []

    def stream_tokens(
        self, prompt: Sequence[int], settings: GenerationSettings, stop_tokens: Collection[int], *, skip_special: bool
    ) -> Iterator[str]:
        assert tuple(stop_tokens) == TEMPLATE.stop_ids
        assert skip_special
        self.prompts.append(list(prompt))
        self.seeds.append(settings.seed)
        yield from self.pieces


def talk(generator: Scripted, system: str | None = None) -> Chat:
    return Chat(cast(Generator, generator), SETTINGS, system)


def prompt(*texts: str, system: str | None = None) -> list[int]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages += [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return TEMPLATE.prompt(messages).tolist()


def test_the_model_sees_the_whole_conversation() -> None:
    generator = Scripted("I ", "am fine.")
    conversation = talk(generator, "Be kind.")
    assert list(conversation.reply("Hello there")) == ["I ", "am fine."]
    list(conversation.reply("What is 2 + 2?"))
    assert generator.prompts == [
        prompt("Hello there", system="Be kind."),
        prompt("Hello there", "I am fine.", "What is 2 + 2?", system="Be kind."),
    ]
    assert len(set(generator.seeds)) == 2, "asking the same again may give another answer"


def test_an_answer_cut_short_is_kept_as_far_as_it_came() -> None:
    generator = Scripted("I ", "am fine.")
    conversation = talk(generator)
    pieces = conversation.reply("Hello")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    list(conversation.reply("What?"))
    assert generator.prompts[1] == prompt("Hello", "I ", "What?")


def test_the_oldest_turns_are_forgotten_and_the_system_message_never() -> None:
    generator = Scripted("I am fine.", context=len(prompt("Hello", "I am fine.", "Hello", system="Be kind.")) + 10)
    conversation = talk(generator, "Be kind.")
    forgotten = []
    for _ in range(3):
        list(conversation.reply("Hello"))
        forgotten.append(conversation.forgotten)
    assert forgotten == [0, 0, 1]
    assert generator.prompts[2] == generator.prompts[1]


def test_a_message_that_cannot_fit_is_refused_and_nothing_is_forgotten_for_it() -> None:
    generator = Scripted("Yes.", context=60)
    conversation = talk(generator)
    list(conversation.reply("Hello"))
    with pytest.raises(UsageError, match="the model's context holds 60"):
        conversation.reply("Hello " * 60)
    list(conversation.reply("What?"))
    assert generator.prompts[1] == prompt("Hello", "Yes.", "What?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, which generates arbitrary tokens, including special ones."""
    path = tmp_path_factory.mktemp("model")
    TOKENIZER.save(path)
    shape = ModelShape(size="nano", num_hidden_layers=2, hidden_size=64, num_attention_heads=4)
    model = Transformer(shape.resolve(vocab_size=TOKENIZER.vocab_size, max_seq_length=128))
    model.initialise(0)
    export_model(model, path, stop_ids=[TOKENIZER.end_of_text_id])
    return path


def test_lines_of_standard_input_are_messages(folder: Path) -> None:
    arguments = [str(folder), "--system", "Be kind.", "--max-new-tokens", "40", "--top-p", "1"]
    done = CliRunner().invoke(chat, arguments, input="Hello there\n\nWhat is 2 + 2?\nI am fine.\n")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("\n") >= 3
    assert "<|" not in done.stdout
    assert "the context is full; questions forgotten" in done.stderr
    assert (
        CliRunner().invoke(chat, arguments, input="Hello there\n\nWhat is 2 + 2?\nI am fine.\n").stdout == done.stdout
    )
