"""Text from a model: batched generation with a key-value cache.

    generator = load(folder)
    for piece in generator.stream("The loop", GenerationSettings(temperature=0.8)):
        ...
    completions = generator.generate(["one prompt", "another"], GenerationSettings(temperature=0))

Torch is imported when a model is loaded, not with this package.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.generate.settings import GenerationSettings

if TYPE_CHECKING:
    from bessemer.generate.engine import Generator

__all__ = ["GenerationSettings", "fill_in", "load"]


def load(folder: Path) -> Generator:
    """The model in a Hugging Face folder, ready to generate in its stored number type, on a GPU if there is one."""
    from bessemer.generate.engine import Generator

    return Generator.load(folder)


def fill_in(folder: Path, text: str, settings: GenerationSettings) -> str:
    """`text` with its blank (`___`) filled in by the model in a Hugging Face folder."""
    from bessemer.generate.fill import fill

    return fill(folder, text, settings)
