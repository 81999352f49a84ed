"""Keeps special tokens in messages as plain characters: placeholders replace them while a chat template renders.

In a rendered text, special tokens from the template and from messages look the same. A placeholder is a character from
a private plane of Unicode that occurs in no message, so its position in the rendered text is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

_FIRST_PLACEHOLDER = 0x100000


def placeholders(special: Mapping[str, int], value: Any) -> dict[str, str]:
    """For each special token that occurs in the texts of `value`, a character that does not occur in them."""
    texts = list(_texts(value))
    found = [token for token in special if any(token in text for text in texts)]
    if not found:
        return {}
    used = set().union(*texts)
    free = (character for number in count(_FIRST_PLACEHOLDER) if (character := chr(number)) not in used)
    return dict(zip(sorted(found, key=len, reverse=True), free, strict=False))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def replaced(value: Any, by: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return swapped(value, by)
    if isinstance(value, Mapping):
        return {swapped(key, by): replaced(inner, by) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(inner, by) for inner in value]
    return value


def swapped(text: str, by: Mapping[str, str]) -> str:
    for old, new in by.items():
        text = text.replace(old, new)
    return text


def swapped_with_places(text: str, literal: Mapping[str, str]) -> tuple[str, list[int]]:
    """The text with its placeholders expanded, and the position in `text` of each of its characters.

    The last position is the length of `text`.
    """
    written, places = [], []
    for place, character in enumerate(text):
        whole = literal.get(character, character)
        written.append(whole)
        places += [place] * len(whole)
    return "".join(written), [*places, len(text)]
