"""`generate`: a model answers in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bessemer.cli.common import say, storage_option


@click.command()
@click.argument("model")
@click.argument("prompt", required=False)
@click.option("--fill", help="Fill in the blank `___` in this text instead.")
@click.option("--max-new-tokens", default=128, show_default=True)
@click.option("--temperature", default=0.8, show_default=True, help="0 takes the likeliest token every time.")
@click.option("--top-p", default=0.95, show_default=True)
@click.option("--top-k", default=0, show_default=True, help="0 considers every token.")
@click.option("--stop", multiple=True, help="Text that ends the answer; may be given several times.")
@click.option("--seed", default=0, show_default=True)
@storage_option
def generate(
    model: str,
    prompt: str | None,
    fill: str | None,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    top_k: int,
    stop: tuple[str, ...],
    seed: int,
    root: Path,
) -> None:
    """Continue PROMPT with MODEL: a Hugging Face folder, a run's name, or `@last`."""
    from bessemer.errors import UsageError
    from bessemer.generate import load
    from bessemer.generate.settings import GenerationSettings
    from bessemer.runner.models import find_model

    if (prompt is None) == (fill is None):
        raise UsageError("give a PROMPT to continue, or a text to `--fill`", hint="bessemer generate --help")
    settings = GenerationSettings(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        stop=stop,
        seed=seed,
    )
    folder = find_model(root, model)
    if fill is not None:
        from bessemer.generate import fill_in

        click.echo(fill_in(folder, fill, settings))
        return
    assert prompt is not None
    for piece in load(folder).stream(prompt, settings):
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    say(f"next: bessemer generate {model} PROMPT --temperature 0")
