"""Text generation: batched, with a key-value cache.

    generator = load(folder)
    for piece in generator.stream("The loop", GenerationSettings(temperature=0.8)):
        ...
    completions = generator.generate(["one prompt", "another"], GenerationSettings(temperature=0))

Importing this package does not import torch; loading a model does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.generate.settings import GenerationSettings

if TYPE_CHECKING:
    from bessemer.generate.engine import Generator

__all__ = ["GenerationSettings", "fill_in", "load"]


def load(folder: Path) -> Generator:
    """Loads the model in a Hugging Face folder for generation, in its stored number type, on a GPU if available."""
    from bessemer.generate.engine import Generator

    return Generator.load(folder)


def fill_in(folder: Path, text: str, settings: GenerationSettings) -> str:
    """Returns `text` with its blank (`___`) filled in by the model in a Hugging Face folder."""
    from bessemer.generate.fill import fill

    return fill(folder, text, settings)
