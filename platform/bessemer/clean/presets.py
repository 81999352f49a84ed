"""Lists of rules for different kinds of text.

`web` is FineWeb's list. Its limits are for prose. A Markdown mark, a table border or an operator counts as a word
without a letter, so the list keeps only 24 of 688 Python and Rust design documents.

`markdown` has the same rules with limits for technical documents. It omits C4, which drops headings, lists and program
code. Each limit passes 99 % of the documents in each of four public sets, rounded outwards: 368 PEPs
(reStructuredText), 320 Rust RFCs and 140 Chinese chapters of "Dive into Deep Learning" (Markdown), and the chapters of
the Python reference manual (`pydoc_data.topics`). The Chinese chapters determine the limits on repetition, because they
repeat each program for several libraries.

`code` judges program files by their lines (see `code_quality`), keeps two consecutive blank lines, and does not
identify a natural language.

`books` has no limit on length and no rules about single lines, because printed lines are short and end anywhere. It
allows for dialogue, whose quotation marks and dashes count as words without a letter: 0.68 is the smallest share of
words with a letter in pieces of 8 000 characters from 57 novels in seven languages.

`tests/clean/test_presets.py` states the share of each set that each preset keeps.
"""

from __future__ import annotations

from typing import Literal

from bessemer.clean.c4 import C4
from bessemer.clean.code_quality import CodeQuality
from bessemer.clean.fineweb import FineWebQuality
from bessemer.clean.language import Language
from bessemer.clean.normalise import Normalise
from bessemer.clean.pii import Pii
from bessemer.clean.quality import GopherQuality
from bessemer.clean.repetition import GopherRepetition
from bessemer.clean.rules import Rule

Preset = Literal["web", "markdown", "code", "books"]

FINEWEB: tuple[Rule, ...] = (
    Normalise(),
    Language(),
    GopherRepetition(),
    GopherQuality(),
    C4(terminal_punctuation=False),
    FineWebQuality(),
    Pii(),
)
"""The order and the settings of FineWeb (Penedo et al., 2024), after normalisation."""

MARKDOWN: tuple[Rule, ...] = (
    Normalise(),
    Language(min_language_probability=0.4),
    GopherRepetition(
        max_duplicate_line_ratio=0.55,
        max_duplicate_line_character_ratio=0.45,
        max_top_2_gram_character_ratio=0.25,
        max_top_3_gram_character_ratio=0.4,
        max_top_4_gram_character_ratio=0.5,
        max_duplicate_5_gram_character_ratio=0.45,
        max_duplicate_6_gram_character_ratio=0.42,
        max_duplicate_7_gram_character_ratio=0.4,
        max_duplicate_8_gram_character_ratio=0.38,
        max_duplicate_9_gram_character_ratio=0.36,
        max_duplicate_10_gram_character_ratio=0.35,
    ),
    GopherQuality(max_mean_word_length=70, min_alphabetic_word_ratio=0.38),  # above every language's; base64 has 76
    FineWebQuality(
        min_terminal_line_ratio=0.01,
        max_short_line_ratio=0.95,
        max_duplicate_line_character_ratio=0.46,
        max_newlines_per_word=0.3,
    ),
    Pii(),
)

CODE: tuple[Rule, ...] = (Normalise(max_blank_lines=2), CodeQuality(), Pii())

BOOKS: tuple[Rule, ...] = (
    Normalise(),
    Language(),
    GopherRepetition(),
    GopherQuality(max_words=None, min_alphabetic_word_ratio=0.65),
    Pii(),
)

PRESETS: dict[Preset, tuple[Rule, ...]] = {"web": FINEWEB, "markdown": MARKDOWN, "code": CODE, "books": BOOKS}
