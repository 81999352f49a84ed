"""Folds characters for the comparison of texts: which characters count, and which are equal.

The folding is that of FineWeb's shingles: lower case, punctuation dropped, numbers folded, diacritics stripped. It also
covers the scripts that are written without spaces, for which FineWeb's word splitter needs a dictionary. In these
scripts every letter is a word, and five letters are distinctive enough. No two passages of 200 characters from one text
(the Declaration of Human Rights) have a Jaccard similarity above 0.04 in Chinese, 0.12 in Japanese, 0.28 in Thai, Lao,
Khmer and Burmese. The value in English, with words, is 0.23.

With folded numbers, sums, tables and programs of the same form are equal. Only one of 40 sums such as
`What is 27 + 82?` would remain. So the table also contains the signs of numbers and operators, and `operators`
separates operators from formatting. Digits of all scripts are equal.

Folding costs one table lookup per character. A character that is missing from Python's Unicode tables is a letter.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
import numpy.typing as npt

GAP, LETTER, NUMBER, UNSPACED, SYMBOL, SIGN, POINT, DROPPED = range(8)
"""Classes, in order: between words; in a word; in a number; a word by itself; a word of symbols; a word if it is an
operator; a word between two digits; ignored. With folded numbers, all numbers are equal, and symbols, signs and points
are gaps."""

PLUS, DASH, COMPARISON, STAR, AMPERSAND, CARET, BANG, TILDE, COLON, HASH, DOLLAR, BAR, OTHER = range(13)
"""Kinds of sign."""
BLANK, LINE_END, OPENING, CLOSING, QUOTE, OPENING_QUOTE, CLOSING_QUOTE, BACKSLASH, SEPARATOR = range(1, 10)
"""Kinds of gap next to signs."""

CLASSES, KIND_SHIFT, COMPOSES, FOLDED_SHIFT = 0x07, 3, 0x80, 16
"""Fields of a table entry, lowest bits first: the class, the kind of sign or gap, a flag for characters that NFC may
change, and the folded form."""

ASTRAL = 0xFFFF
"""Marks a character whose folded form needs more than 16 bits; `folded_codes` has the form."""

_SIGNS = {"+": PLUS, "-": DASH, "*": STAR, "&": AMPERSAND, "^": CARET, "!": BANG, "~": TILDE, ":": COLON, "#": HASH}
_SIGNS |= {"$": DOLLAR, "|": BAR, "/": OTHER, "@": OTHER} | dict.fromkeys("<=>", COMPARISON)
_GAPS = (
    {"\\": BACKSLASH}
    | dict.fromkeys(" \t\xa0\u2009\u202f\u3000", BLANK)
    | dict.fromkeys("\n\r", LINE_END)
    | dict.fromkeys(";,", SEPARATOR)
)
_GAPS |= dict.fromkeys("([{", OPENING) | dict.fromkeys(")]}", CLOSING) | dict.fromkeys("'\"`", QUOTE)
_GAPS |= dict.fromkeys("‘“", OPENING_QUOTE) | dict.fromkeys("’”", CLOSING_QUOTE)
_SYMBOLS = frozenset("%‰‱°¬±×÷")
_DASHES = frozenset("\u2043\u207b\u208b")
_MINUS = "\u2212"
_BULLETS = frozenset("\u2219\u22c5\u22c6")

_TABULATED = 0x20000  # planes 0 and 1; beyond are ideographs and rare scripts
_UNSPACED_SCRIPTS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),  # ideographic iteration, closing mark and zero
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3031, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31FF),  # their extensions
    (0x3400, 0x4DBF),  # ideographs, extension A
    (0x4E00, 0x9FFF),  # ideographs
    (0xA000, 0xA4CF),  # Yi
    (0xA9E0, 0xA9FF),  # Myanmar, extended
    (0xAA60, 0xAADF),  # Myanmar, extended; Tai Viet
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0xFF66, 0xFF9F),  # half-width katakana
    (0x1B000, 0x1B16F),  # historic kana
    (0x20000, 0x3FFFF),  # ideographs, further extensions
)


def mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit over all 64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def composed(text: str) -> str:
    """The text in NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


@functools.cache
def table() -> npt.NDArray[np.uint32]:
    """Class, kind and folded form of every code point; 4.5 MB, built in 0.2 s on first use."""
    classes, folded = _folded()
    result = np.minimum(folded, ASTRAL) << np.uint32(FOLDED_SHIFT) | classes
    result[_composing()] |= COMPOSES
    kinds = dict(zip(map(ord, _GAPS), _GAPS.values(), strict=True))
    kinds |= {code: _SIGNS.get(chr(folded[code]), OTHER) for code in np.flatnonzero(classes == SIGN).tolist()}
    result[list(kinds)] |= np.array(list(kinds.values()), np.uint32) << np.uint32(KIND_SHIFT)
    result.setflags(write=False)
    return result


def folded_codes() -> npt.NDArray[np.uint32]:
    """The folded code point of every code point."""
    return _folded()[1]


@functools.cache
def _folded() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """(classes, folded code points) of all code points."""
    folded = np.arange(0x110000, dtype=np.uint32)
    classes = np.full(0x110000, LETTER, np.uint32)
    for first, last in _UNSPACED_SCRIPTS:
        classes[first : last + 1] = UNSPACED
    changed = {code: found for code in range(_TABULATED) if (found := _fold(chr(code))) != (LETTER, code)}
    codes = np.fromiter(changed, np.int64)
    kinds, folded[codes] = np.array(list(changed.values()), np.uint32).T
    classes[codes] = np.where(kinds == LETTER, classes[codes], kinds)
    return classes, folded


def _composing() -> list[int]:
    """The code points of NFC_Quick_Check `No` or `Maybe` (UAX 15): a text without such characters is in NFC."""
    found = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}  # vowels and final consonants of Hangul
    for code in (*range(0x80, _TABULATED), *range(0x2F800, 0x2FA20)):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and parts[0][0] != "<":
            found.add(int(parts[1], 16))
        if unicodedata.combining(chr(code)) or (parts and not unicodedata.is_normalized("NFC", chr(code))):
            found.add(code)
    return sorted(found)


def _fold(character: str) -> tuple[int, int]:
    """(class, folded code point). If the class is LETTER, the script decides the final class."""
    category = unicodedata.category(character)
    if category in ("Lo", "Cn") and not unicodedata.decomposition(character):  # most of them: ideographs
        return LETTER, ord(character)
    if character == _MINUS:
        return SYMBOL, ord("-")
    if category == "Pd" or character in _DASHES:
        return SIGN, ord("-")
    plain = unicodedata.normalize("NFKC", character)[0]
    if plain == ".":
        return POINT, ord(".")
    if plain == "\\" or category[0] == "Z":
        return GAP, ord(character)
    if plain in _SYMBOLS or (category == "Sc" and plain != "$") or _is_mathematical(character):
        return SYMBOL, ord(plain)
    if plain in _SIGNS or category == "Sm":
        return SIGN, ord(plain)
    if category[0] in "PS" or category in ("Cc", "Co", "Cs"):
        return GAP, ord(character)
    if category in ("Mn", "Me", "Cf"):  # accents, vowel points, zero-width characters, soft hyphens
        return DROPPED, ord(character)
    parts = unicodedata.normalize("NFKD", character.lower())
    base = [part for part in parts if unicodedata.category(part) not in ("Mn", "Me")]
    if not base:  # the half-width voicing marks of kana
        return DROPPED, ord(character)
    if len(base) > 1:  # a ligature, a Hangul syllable
        return LETTER, ord(character)
    if base[0].isdecimal():
        return NUMBER, ord(str(unicodedata.decimal(base[0])))
    return LETTER, ord(base[0])


def _is_mathematical(character: str) -> bool:
    """Whether the character is in the blocks of mathematical operators and is not used as a bullet."""
    return ("\u2200" <= character <= "\u22ff" or "\u2a00" <= character <= "\u2aff") and character not in _BULLETS
