"""Special tokens in messages as plain characters: each is replaced while a chat template renders, and put back after.

A template cannot tell a special token that it writes itself from one in a message. A placeholder is a character of a
private plane of Unicode that no message has, so its place in the rendering is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

_FIRST_PLACEHOLDER = 0x100000


def placeholders(special: Mapping[str, int], value: Any) -> dict[str, str]:
    """For each special token in a text of `value`, a character that is in none of its texts."""
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
    """The text with its placeholders written out, and the place in `text` of every character."""
    written, places = [], []
    for place, character in enumerate(text):
        whole = literal.get(character, character)
        written.append(whole)
        places += [place] * len(whole)
    return "".join(written), [*places, len(text)]
