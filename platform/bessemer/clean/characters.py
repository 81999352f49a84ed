"""Properties of characters, with one table lookup for a whole batch.

`flags()[codes]` gives the bits below for each code point. The table is built from Python's `unicodedata` once per
process, in about 40 ms.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

_BITS = [np.uint16(1 << bit) for bit in range(16)]
SPACE, LINE_END, LETTER, LOWER, UPPER, DIGIT, PUNCTUATION, SYMBOL = _BITS[:8]
TERMINAL, SENTENCE_END, MARK, PEEL, OPEN, ICON, RUN, JOINT = _BITS[8:]
"""The bits.

| bit | a character for which |
|---|---|
| SPACE | `str.isspace` holds |
| LINE_END | `str.splitlines` ends a line |
| LETTER, LOWER, UPPER | `str.isalpha` holds; it is a letter, but not a capital; it is a letter, but not small |
| DIGIT | it is 0 to 9 |
| PUNCTUATION | the category begins with P |
| SYMBOL | datatrove counts it as punctuation, and does not count words of only such characters |
| TERMINAL | datatrove counts it as the end of a sentence if it ends a line |
| SENTENCE_END | spaCy's sentencizer lets it end a sentence |
| MARK | the category begins with P or S |
| PEEL | it is peeled off both ends of a word: brackets, quotes, commas, ... |
| OPEN | it is peeled off the front of a word, or off the end after a digit: currency, `%`, ... |
| ICON | the category is So: it is always a separate word |
| RUN | several in a row are one word: full stops, hyphens, dashes |
| JOINT | it splits a word if a letter follows: hyphens, `/`, `:`, ... |
"""

_TERMINAL = """21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736
17D4-17D6 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D
2047-2049 2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1
ABEB FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143
111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642
1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38
16B44 16E98 1BC9F 1DA88"""
_TERMINAL_BUT_NO_SENTENCE_END = """61D-61E 837 839 83D-83E 17D4-17D6 17D9-17DA 1B7D-1B7E 2E53-2E54 10F55-10F59
10F86-10F89 11944 11946 11EF7-11EF8 11F43-11F44 16E98"""
_SYMBOL = """0-8 B-1F 22-2D 2F 3A-3E 40 5B-60 7B-9F AB B4 BB 2013-2014 2019 201C-201E 2026 2236 2501 25BA 3001
3008-300D 3010-3011 FF05 FF08-FF09 FF0C FF11 FF1A-FF1B FF5E"""

_PEEL = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧—–"

_LAST_ASSIGNED = 0x33480
"""Above it there are only tags and private-use characters (Unicode 16)."""


@cache
def flags() -> npt.NDArray[np.uint16]:
    """The bits of every code point: uint16[0x110000]."""
    table = np.zeros(0x110000, np.uint16)
    for code in range(_LAST_ASSIGNED):
        character = chr(code)
        category = unicodedata.category(character)
        if character.isspace():
            table[code] = SPACE
        elif category[0] == "L":
            table[code] = LETTER | {"Ll": LOWER, "Lu": UPPER, "Lt": UPPER}.get(category, LOWER | UPPER)
        elif category[0] == "P":
            table[code] = PUNCTUATION | MARK
        elif category[0] == "S":
            table[code] = MARK | {"So": PEEL | ICON, "Sc": OPEN}.get(category, np.uint16(0))
    table[ord("0") : ord("9") + 1] |= DIGIT
    line_ends = "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
    for bit, characters in ((LINE_END, line_ends), (PEEL, _PEEL), (OPEN, "§%="), (RUN, ".-—…"), (JOINT, "-–—~:<>=/")):
        for character in characters:
            table[ord(character)] |= bit
    for code in _codes(_TERMINAL):
        table[code] |= TERMINAL | SENTENCE_END | SYMBOL
    for code in _codes(_TERMINAL_BUT_NO_SENTENCE_END):
        table[code] &= ~SENTENCE_END
    for code in _codes(_SYMBOL):
        table[code] |= SYMBOL
    return table


def _codes(ranges: str) -> Iterator[int]:
    for item in ranges.split():
        first, _, last = item.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)
