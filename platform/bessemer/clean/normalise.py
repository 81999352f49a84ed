"""`normalise`: writes texts in a uniform way.

Line ends become line feeds. White space at line ends, control characters, soft hyphens and byte order marks are
removed. Runs of blank lines are shortened. The result is in Unicode normal form C. Indentation stays.

C1 control characters (U+0080 to U+009F) are read as Windows-1252, as in browsers, because wrongly decoded Windows-1252
text is their usual source. So no characters are lost, and other decoding errors can still be repaired. Zero-width
spaces and joiners stay, because Khmer, Persian and emoji need them. The rule is idempotent.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

import numpy as np

from bessemer.clean.rules import Findings, Rule
from bessemer.clean.texts import Texts


class Normalise(Rule):
    """Writes line ends, blanks and characters in a uniform way, and removes texts that are empty afterwards."""

    rule: Literal["normalise"] = "normalise"
    max_blank_lines: int = 1
    """Maximum number of consecutive blank lines."""
    min_characters: int | None = 1
    """Minimum number of characters of a normalised text; 1 removes empty texts."""

    def apply(self, texts: Texts) -> Findings:
        strings = [normalise_text(text, self.max_blank_lines) for text in texts.strings]
        lengths = np.fromiter(map(len, strings), np.float64, len(strings))
        return Findings({"characters": lengths}, None if strings == texts.strings else Texts(strings))


def normalise_text(text: str, max_blank_lines: int = 1) -> str:
    if _SPECIAL.search(text):
        text = text.replace("\r\n", "\n").translate(_TRANSLATION)
    text = "\n".join([line.rstrip() for line in text.split("\n")])
    text = re.sub(rf"\n{{{max_blank_lines + 2},}}", "\n" * (max_blank_lines + 1), text).strip("\n")
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _windows_1252(code: int) -> str:
    return bytes([code]).decode("cp1252", "ignore")


_REMOVED = (*range(0x20), 0x7F, 0xAD, *range(0xFDD0, 0xFDF0), 0xFEFF, 0xFFFE, 0xFFFF)
_TRANSLATION: dict[int, str] = dict.fromkeys(_REMOVED, "")
_TRANSLATION |= {code: _windows_1252(code) for code in range(0x80, 0xA0)}
_TRANSLATION |= {0x09: "\t", 0x0A: "\n", 0x0B: "\n", 0x0C: "\n", 0x0D: "\n", 0x2028: "\n", 0x2029: "\n\n"}
_SPECIAL = re.compile(
    "[" + "".join(re.escape(chr(code)) for code, becomes in _TRANSLATION.items() if chr(code) != becomes) + "]"
)
