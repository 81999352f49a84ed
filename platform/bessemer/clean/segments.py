"""Finds word boundaries without blanks, in the languages that have them.

ICU, the Unicode consortium's library, splits Chinese, Japanese, Thai, Lao, Khmer and Burmese with its dictionaries.
Latin words, numbers and addresses inside such a text are split only by `words`. In French, Italian, Catalan and Occitan
an apostrophe between letters ends a word. In Amharic the marks `፡` to `፨` end a word, and `፡` itself is a blank. These
boundaries are in addition to those of `words`.

Cost: 0.5 µs per character of Chinese, 1.4 µs per character of Japanese; nothing for texts in other languages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np

from bessemer.clean.characters import LETTER
from bessemer.clean.languages import ELIDING, UNSPACED, base
from bessemer.clean.spans import Array, Spans

_BLOCKS = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3000, 0x30FF), (0x3400, 0x9FFF), (0xA9E0, 0xA9FF),
           (0xAA60, 0xAA7F), (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))  # fmt: skip
"""Thai and Lao, Burmese, Khmer, kana, ideographs, and the punctuation that goes with them."""
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def word_cuts(
    strings: Sequence[str], languages: Sequence[str | None], starts: Array, codes: Array, flags: Array
) -> Array:
    """int64: the sorted positions in a batch at which a word ends although no blank follows.

    `starts` has one entry per text; `codes` and `flags` have one per character.
    """
    cuts = [np.zeros(0, np.int64)]
    for text, language, start in zip(strings, languages, starts.tolist(), strict=True):
        code = None if language is None else base(language)
        if code in UNSPACED:
            cuts.append(start + _boundaries(text, code, codes[start : start + len(text)]))
        elif code in ELIDING:
            cuts.append(start + _elisions(codes[start : start + len(text)], flags[start : start + len(text)]))
        elif code == "am":
            own = codes[start : start + len(text)]
            marks = np.flatnonzero((own >= ord("፡")) & (own <= ord("፨")))
            cuts.append(start + np.unique(np.concatenate([marks, marks + 1])))
    return np.concatenate(cuts)


def is_blank(words: Spans, languages: Sequence[str | None], codes: Array) -> Array:
    """Mask of the words that are the Amharic `፡`, the blank of older texts."""
    amharic = np.array([language is not None and base(language) == "am" for language in languages], bool)
    found: Array = (codes[words.starts] == ord("፡")) & amharic[words.owners]
    return found


def _boundaries(text: str, language: str, codes: Array) -> Array:
    """ICU's word boundaries next to at least one character of an unspaced script."""
    from icu4py.breakers import WordBreaker

    if not text:
        return np.zeros(0, np.int64)
    plain = _ASTRAL.sub("〇", text)  # ICU counts in UTF-16, where these would be two units
    ends = np.fromiter((end for _, end in WordBreaker(plain, language).segments()), np.int64)[:-1]
    unspaced = _unspaced()[np.minimum(codes, 0x3FFFF)]
    chosen: Array = ends[unspaced[ends - 1] | unspaced[ends]]
    return chosen


def _elisions(codes: Array, flags: Array) -> Array:
    """The positions after each apostrophe between two letters."""
    letters = flags & LETTER != 0
    apostrophes = (codes == ord("'")) | (codes == ord("’"))
    return np.flatnonzero(apostrophes[1:-1] & letters[:-2] & letters[2:]) + 2


@cache
def _unspaced() -> Array:
    """bool[0x40000]: whether a character belongs to a script without blanks between words."""
    table = np.zeros(0x40000, bool)
    for first, last in _BLOCKS:
        table[first : last + 1] = True
    return table
