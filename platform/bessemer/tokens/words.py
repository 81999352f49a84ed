"""Splits a text before byte-pair merges: long texts into pieces, and pieces into words.

`PATTERN` is the rule of Llama 3, a refinement of OpenAI's cl100k, with one change: combining marks are part of their
word. Without this change, Hindi, Thai and Arabic with vowel signs would be split inside words. The pattern matches:

- contractions
- letters with at most one leading symbol
- numbers in groups of at most three digits
- symbols with the line ends after them
- line ends with the whitespace before them
- whitespace up to the last character, which belongs to the next word.

The length of a word has no limit, and the memory to merge a word grows faster than its length. The tokenizer therefore
gets at most `PIECE_LENGTH` characters at a time. A piece ends at a place where every known pattern ends a word, so
splitting does not change the ids. If the last `_SEARCHED` characters of a piece contain no such place, the piece ends
at an arbitrary character.
"""

from __future__ import annotations

import regex

PIECE_LENGTH = 1 << 16
_SEARCHED = 1 << 12

# The position after a letter and before a character that no pattern attaches to it. All known patterns end a word here.
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

# In training, runs are split at 256 characters. Merging takes time quadratic in the length of a word, and longer runs
# (base64, lines of dashes) contain nothing useful.
TRAINING_PATTERN = _pattern("{1,256}")

# Patterns that split a word in a text as they would split the word alone: ours, that of Llama 3 and the GPT-4 family,
# and that of Qwen 2 and later. `encoder.py` compares a tokenizer's pattern with these.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SELF_CONTAINED_PATTERNS = frozenset({PATTERN, _LLAMA3, _LLAMA3.replace("{1,3}", "")})


def split_pieces(text: str) -> list[str]:
    """Splits `text` into pieces of at most `PIECE_LENGTH` characters, at the end of a word if possible."""
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
