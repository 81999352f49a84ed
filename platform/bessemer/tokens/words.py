"""Where a text is cut before byte-pair merges: into words, and long texts into pieces first.

`PATTERN` is the rule of Llama 3 (a refinement of OpenAI's cl100k) with combining marks counted as part of the
word that they stand in, without which Hindi, Thai or Arabic with vowel signs fall apart: contractions, letters
with at most one leading symbol, numbers in groups of at most three digits, symbols with the line ends after
them, line ends with the blanks before them, blanks up to the last one, which belongs to the next word.

A word has no greatest length, and merging one costs more than its share of memory, so no more than
`PIECE_LENGTH` characters are handed over at once. Pieces end where a word ends whatever the text around it
says, so cutting changes no id; only a run of that many characters without such a place is cut anywhere.
"""

from __future__ import annotations

import regex

PIECE_LENGTH = 1 << 16
_SEARCHED = 1 << 12

# A letter, then something that no rule in use joins to it from behind: all known patterns end a word here.
_SAFE_CUT = regex.compile(r"(?r)(?<=\p{L})(?=[^\p{L}\p{M}\p{N}\r\n])")


def _pattern(repeat: str) -> str:
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]{repeat}"
        r"|\p{N}{1,3}"
        rf"| ?[^\s\p{{L}}\p{{N}}]{repeat}[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


PATTERN = _pattern("+")

# While training, runs are cut at 256 characters: merging takes time quadratic in the length of a word, and what
# longer runs would teach (base64, rulers of dashes) is of no use.
TRAINING_PATTERN = _pattern("{1,256}")

# Patterns of open checkpoints that cut a word out of its text as they would cut it alone, given here to
# recognise them: Llama 3 and the GPT-4 family; Qwen 2 and later.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SELF_CONTAINED_PATTERNS = frozenset({PATTERN, _LLAMA3, _LLAMA3.replace("{1,3}", "")})


def split_pieces(text: str) -> list[str]:
    """`text` in pieces of at most `PIECE_LENGTH` characters, cut where a word ends if there is such a place."""
    if len(text) <= PIECE_LENGTH:
        return [text]
    pieces = []
    start = 0
    while len(text) - start > PIECE_LENGTH:
        limit = start + PIECE_LENGTH
        cut = _SAFE_CUT.search(text, limit - _SEARCHED, limit)
        end = cut.start() if cut else limit
        pieces.append(text[start:end])
        start = end
    pieces.append(text[start:])
    return pieces
