"""Limits and stop words by language, and the languages that need their own word splitting.

Limits on words differ between languages: German words are longer on average than English words, and Chinese text has no
blanks. FineWeb-2 (Penedo et al., 2025) measured limits and stop words for each language on Wikipedia and Common Crawl.
`fineweb2.tsv` holds them for 73 languages, from the files `configs/*.yml` of `huggingface/fineweb-2`, revisions 05e6729
and d331bee (Turkish: baedee4), published under ODC-By 1.0. `tests/clean/make_fineweb2_table.py` writes the table and
lists its omissions. English is not in FineWeb-2. Its limits are those of FineWeb; each rule states them.

Language codes are those of the identifier in `language`: ISO 639-1, else ISO 639-3 or Wikipedia's code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("fineweb2.tsv")
COLUMNS = (
    "language", "config", "duplicate_line", "top_2_gram", "top_3_gram", "top_4_gram",
    *(f"duplicate_{n}_gram" for n in range(5, 11)),
    "terminal_line", "newlines_per_word", "min_word_length", "max_word_length", "alphabetic_words", "stop_words",
)  # fmt: skip
"""The columns of the table, in order."""

ENGLISH = "en"
_SHOWN = 8

UNSPACED = frozenset(["ja", "km", "lo", "my", "th", "wuu", "yue", "zh"])
"""Languages that are written without blanks between words."""
ELIDING = frozenset(["ca", "fr", "it", "oc"])
"""Languages in which an apostrophe ends a word: `l'` `homme`."""

_WRITTEN_AS = {"nb": "no", "sh": "sr", "wuu": "zh", "yue": "zh"}
"""Languages that use the limits of another language: Chinese for Wu and Cantonese, Serbian for Serbo-Croatian."""


class LanguageFacts(NamedTuple):
    """The measurements of FineWeb-2 in one language."""

    limits: Mapping[str, float]
    """The values, by column of the table."""
    stop_words: tuple[str, ...]


@cache
def facts(language: str) -> LanguageFacts | None:
    """The measurements for a language; None for English and for languages that are not in the table."""
    table, _ = _table()
    code = base(language)
    return table.get(code) or table.get(_WRITTEN_AS.get(code, ""))


@cache
def is_listed(language: str) -> bool:
    """Whether the limits and stop words of a language are known."""
    return base(language) == ENGLISH or facts(language) is not None


@cache
def base(language: str) -> str:
    """The identifier's code for a code in a document: `zh-Hant`, `cmn_Hani` and `zh` give `zh`."""
    plain = language.lower().replace("_", "-").partition("-")[0]
    return _table()[1].get(plain, plain)


def spoken(languages: Collection[str]) -> str:
    """Language codes as text: all codes if there are few, else the first ones and the number of the others."""
    shown = ", ".join(f"`{language}`" for language in sorted(languages)[:_SHOWN])
    return shown if len(languages) <= _SHOWN else f"{shown} and {len(languages) - _SHOWN} others"


@cache
def _table() -> tuple[dict[str, LanguageFacts], dict[str, str]]:
    """Facts by language, and languages by their three-letter codes."""
    table: dict[str, LanguageFacts] = {}
    codes = {"eng": ENGLISH}
    header, *lines = TABLE.read_text("utf-8").splitlines()
    assert header.split("\t") == list(COLUMNS), f"{TABLE} has other columns"
    for line in lines:
        language, config, *numbers, words = line.split("\t")
        limits = dict(zip(COLUMNS[2:-1], map(float, numbers), strict=True))
        table[language] = LanguageFacts(limits, tuple(words.split(" ")))
        codes[config.partition("_")[0]] = language
    del codes["als"]  # Tosk Albanian in ISO 639-3, but Alemannic German to the identifier
    return table, codes
