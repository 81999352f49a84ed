"""`generate` and `chat`: a model answers in the terminal."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bessemer.cli.common import say, storage_option
from bessemer.terminal import printable

if TYPE_CHECKING:
    from bessemer.generate.chat import Chat
    from bessemer.generate.settings import GenerationSettings


def sampling_options(max_new_tokens: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that say how a text is continued."""
    options = (
        click.option("--max-new-tokens", default=max_new_tokens, show_default=True, type=click.IntRange(1)),
        click.option(
            "--temperature",
            default=0.8,
            show_default=True,
            type=click.FloatRange(0),
            help="0 takes the likeliest token every time.",
        ),
        click.option("--top-p", default=0.95, show_default=True, type=click.FloatRange(0, 1, min_open=True)),
        click.option("--top-k", default=0, show_default=True, type=click.IntRange(0), help="0 considers every token."),
        click.option("--stop", multiple=True, help="Text that ends the answer; may be given several times."),
        click.option("--seed", default=0, show_default=True, type=click.IntRange(0)),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command()
@click.argument("model")
@click.argument("prompt", required=False)
@click.option("--fill", help="Fill in the blank `___` in this text instead.")
@sampling_options(128)
@storage_option
def generate(
    model: str,
    prompt: str | None,
    fill: str | None,
    root: Path,
    **sampling: Any,
) -> None:
    """Continue PROMPT with MODEL: a Hugging Face folder, a run's name, or `@last`."""
    from bessemer.errors import UsageError
    from bessemer.generate import load
    from bessemer.runner.models import find_model

    if (prompt is None) == (fill is None):
        raise UsageError("give a PROMPT to continue, or a text to `--fill`", hint="bessemer generate --help")
    settings = _settings(sampling)
    text = _utf8(prompt or fill or "")
    folder = find_model(root, model)
    if fill is not None:
        from bessemer.generate import fill_in

        _write(fill_in(folder, text, settings) + "\n")
        return
    for piece in load(folder).stream(text, settings):
        _write(piece)
    sys.stdout.write("\n")
    say(f"next: {shlex.join(['bessemer', 'generate', model])} PROMPT --temperature 0")


@click.command()
@click.argument("model")
@click.option("--system", help="The system message, which precedes the conversation.")
@sampling_options(256)
@storage_option
def chat(model: str, system: str | None, root: Path, **sampling: Any) -> None:
    """Talk with MODEL: a Hugging Face folder, a run's name, or `@last`.

    On a terminal, `/help` lists the commands, Ctrl-C ends an answer, and Ctrl-D ends the conversation. If standard
    input is not a terminal, each of its lines is one message.
    """
    from bessemer.errors import UsageError
    from bessemer.generate.chat import Chat
    from bessemer.runner.models import find_model

    settings = _settings(sampling)
    conversation = Chat.load(find_model(root, model), settings, system and _utf8(system))
    interactive = sys.stdin.isatty()
    if interactive:
        say(f"{model}: {conversation.facts}; {_HELP}")
    for message in _messages(interactive):
        if interactive and message in _COMMANDS:
            if message == "/exit":
                break
            if message == "/reset":
                conversation.reset()
            say(_HELP if message == "/help" else "the model has forgotten the conversation")
            continue
        try:
            _answer(conversation, _utf8(message))
        except UsageError as error:
            if not interactive:
                raise
            say(f"error: {error}")
    options = ["--system", system] if system else []
    say(f"next: {shlex.join(['bessemer', 'chat', model, *options])} --temperature 0")


_COMMANDS = ("/help", "/reset", "/exit")
_HELP = "/reset starts a new conversation, /exit or Ctrl-D ends it, Ctrl-C ends an answer, /help prints this line"


def _settings(sampling: dict[str, Any]) -> GenerationSettings:
    """Raises UsageError for values that the types of the options accept: `--temperature nan`, `--stop ''`."""
    from pydantic import ValidationError

    from bessemer.errors import UsageError
    from bessemer.generate.settings import GenerationSettings

    try:
        return GenerationSettings(**sampling)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise UsageError(
            f"`--{name}` cannot be `{first['input']}`: {first['msg']}", hint="bessemer generate --help"
        ) from None


def _utf8(text: str) -> str:
    """Returns the user's text. Raises UsageError if its bytes were not UTF-8."""
    from bessemer.errors import UsageError

    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("the text is not UTF-8", hint="convert it, for example with `iconv -t UTF-8`") from None
    return text


def _messages(interactive: bool) -> Iterator[str]:
    """Yields the user's messages, one per line, until Ctrl-D. Empty lines are skipped."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # `_utf8` reports invalid bytes
    if not interactive:
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    import readline  # noqa: F401 gives `input` its history and its editing

    while True:
        try:
            message = input("> ").strip()
        except EOFError:
            sys.stdout.write("\n")
            return
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            continue
        if message:
            yield message


def _answer(conversation: Chat, message: str) -> None:
    pieces = conversation.reply(message)
    if conversation.forgotten:
        say(f"the context is full; questions forgotten, with their answers, oldest first: {conversation.forgotten}")
    try:
        for piece in pieces:
            _write(piece)
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
    sys.stdout.write("\n")
    sys.stdout.flush()


def _write(text: str) -> None:
    """Writes a piece of a model's text: to a terminal with control characters written out, else as it is."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
