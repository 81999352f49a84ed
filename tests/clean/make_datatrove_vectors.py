"""Writes `datatrove_vectors.json`: the verdicts of datatrove on the documents of `clean_corpus`.

    python -m venv /tmp/oracle && /tmp/oracle/bin/pip install datatrove==0.10.1 spacy==3.8.18 pydantic xxhash pyarrow
    PYTHONPATH=platform /tmp/oracle/bin/python tests/clean/make_datatrove_vectors.py

datatrove's filters only say yes or no, so a measured value is found by bisecting the filter's own threshold, all other
thresholds off. This is done with Bessemer's words in the place of spaCy's, so that everything but the words is compared
exactly; then the verdicts with the default thresholds are taken once with each, and spaCy's words of the passages.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils import text as datatrove_text
from datatrove.utils import word_tokenizers
from tests.clean.clean_corpus import make_documents, passages

from bessemer.clean.texts import Texts
from bessemer.fingerprint import content_hash

QUALITY, REPETITION, FINEWEB = GopherQualityFilter, GopherRepetitionFilter, FineWebQualityFilter
_QUALITY_LIMITS = """min_doc_words max_doc_words min_avg_word_length max_avg_word_length max_symbol_word_ratio
max_bullet_lines_ratio max_ellipsis_lines_ratio max_non_alpha_words_ratio min_stop_words"""
_REPETITION_LIMITS = "dup_line_frac dup_para_frac dup_line_char_frac dup_para_char_frac"
NO_LIMIT: dict[Any, dict[str, Any]] = {
    QUALITY: dict.fromkeys(_QUALITY_LIMITS.split()),
    REPETITION: dict.fromkeys(_REPETITION_LIMITS.split()) | {"top_n_grams": (), "dup_n_grams": ()},
    FINEWEB: {"line_punct_thr": -1, "short_line_thr": 9, "char_duplicates_ratio": 9, "new_line_ratio": 1e9},
}


class Probe(NamedTuple):
    """How a signal is measured: the filter, the name of its threshold, and up to which value to look."""

    filter_class: Any
    threshold: str
    largest: float = 2
    is_smallest: bool = False
    """Whether the threshold is the smallest value that passes."""
    integer: bool = False
    n: int = 0
    """The length of n-grams, where the threshold is one of many."""

    def settings(self, threshold: float) -> dict[str, Any]:
        value: Any = ((self.n, threshold),) if self.n else threshold
        return NO_LIMIT[self.filter_class] | {self.threshold: value}


PROBES = {
    "gopher_quality/words": Probe(QUALITY, "min_doc_words", 9000, is_smallest=True, integer=True),
    "gopher_quality/mean_word_length": Probe(QUALITY, "min_avg_word_length", 4096, is_smallest=True),
    "gopher_quality/bullet_line_ratio": Probe(QUALITY, "max_bullet_lines_ratio"),
    "gopher_quality/ellipsis_line_ratio": Probe(QUALITY, "max_ellipsis_lines_ratio"),
    "gopher_quality/alphabetic_word_ratio": Probe(QUALITY, "max_non_alpha_words_ratio", is_smallest=True),
    "gopher_quality/stop_words": Probe(QUALITY, "min_stop_words", 9, is_smallest=True, integer=True),
    "gopher_repetition/duplicate_paragraph_ratio": Probe(REPETITION, "dup_para_frac"),
    "gopher_repetition/duplicate_paragraph_character_ratio": Probe(REPETITION, "dup_para_char_frac"),
    "gopher_repetition/duplicate_line_ratio": Probe(REPETITION, "dup_line_frac"),
    "gopher_repetition/duplicate_line_character_ratio": Probe(REPETITION, "dup_line_char_frac"),
    "fineweb_quality/terminal_line_ratio": Probe(FINEWEB, "line_punct_thr", is_smallest=True),
    "fineweb_quality/short_line_ratio": Probe(FINEWEB, "short_line_thr"),
    "fineweb_quality/duplicate_line_character_ratio": Probe(FINEWEB, "char_duplicates_ratio"),
    "fineweb_quality/newlines_per_word": Probe(FINEWEB, "new_line_ratio", 4096),
}
for n in range(2, 11):
    name, threshold = ("top", "top_n_grams") if n <= 4 else ("duplicate", "dup_n_grams")
    PROBES[f"gopher_repetition/{name}_{n}_gram_character_ratio"] = Probe(REPETITION, threshold, 4, n=n)


class OurWords(word_tokenizers.WordTokenizer):
    """Bessemer's words; sentences by the rule of spaCy's sentencizer, one word after the other."""

    def word_tokenize(self, text: str) -> list[str]:
        texts = Texts([text])
        return [text[a:b] for a, b in zip(texts.words.starts.tolist(), texts.words.ends.tolist(), strict=True)]

    def sent_tokenize(self, text: str) -> list[str]:
        raise NotImplementedError

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        import unicodedata

        from spacy.pipeline import Sentencizer

        words = self.word_tokenize(text)
        sentences, seen_end = min(1, len(words)), False
        for word in words:
            if word in Sentencizer.default_punct_chars:
                seen_end = True
            elif seen_end and not all(unicodedata.category(character)[0] == "P" for character in word):
                sentences, seen_end = sentences + 1, False
        return [(0, 0)] * sentences


@contextmanager
def tokenizer(chosen: word_tokenizers.WordTokenizer | None) -> Iterator[None]:
    original = word_tokenizers.load_word_tokenizer
    datatrove_text.split_into_parts.cache_clear()
    if chosen:
        word_tokenizers.load_word_tokenizer = lambda language: chosen
    yield
    word_tokenizers.load_word_tokenizer = original


def measure(probe: Probe, text: str) -> float | None:
    """The value at which the filter's verdict changes; None if no value changes it, as for an empty text."""

    def passes(settings: dict[str, Any]) -> bool:
        return probe.filter_class(**settings).filter(Document(text=text, id="0")) is True

    step = 1 if probe.integer else 1e-9
    try:
        if not passes(NO_LIMIT[probe.filter_class]):
            return None
        if passes(probe.settings(step)) != probe.is_smallest:
            return 0.0
        low, high = 0.0, probe.largest
        while high - low > step:
            middle = (low + high) // 2 if probe.integer else (low + high) / 2
            if passes(probe.settings(middle)) == probe.is_smallest:
                low = middle
            else:
                high = middle
    except ZeroDivisionError:
        return None
    return None if high == probe.largest else round(low, 8)


def verdict(filter_class: Any, text: str, **settings: Any) -> str | None:
    try:
        outcome = filter_class(**settings).filter(Document(text=text, id="0"))
    except ZeroDivisionError:
        return "division by zero"
    return None if outcome is True else outcome[1]


def verdicts(text: str) -> list[str | None]:
    filters = (GopherRepetitionFilter, GopherQualityFilter, C4QualityFilter, FineWebQualityFilter)
    return [verdict(filter_class, text) for filter_class in filters]


def c4(text: str, terminal: bool) -> tuple[str, list[int]]:
    """The hash of the lines that are left, and how many went for each reason.

    Blank lines and the white space around lines do not count: datatrove drops them, Bessemer keeps them.
    """
    document = Document(text=text, id="0")
    pages = {"min_num_sentences": -1, "filter_lorem_ipsum": False, "filter_curly_bracket": False}
    c4_filter = C4QualityFilter(filter_no_terminal_punct=terminal, **pages)
    assert c4_filter.filter(document) is True
    reasons = ("too_long_word", "no_terminal_punc", "too_few_words", "javascript", "policy")
    counts = [c4_filter.stats[f"line-filter-{reason}"].total for reason in reasons]
    lines = [line.strip() for line in document.text.split("\n")]
    return content_hash("\n".join(filter(None, lines))), [int(count) for count in counts]


def sentences(text: str) -> int:
    pages = {"filter_lorem_ipsum": False, "filter_curly_bracket": False, "filter_no_terminal_punct": False}
    for number in range(1, 10_000):
        if verdict(C4QualityFilter, text, min_num_sentences=number, **pages) is not None:
            return number - 1
    raise AssertionError


def main() -> None:
    warnings.simplefilter("ignore")
    documents = make_documents()
    with tokenizer(OurWords()):
        result: dict[str, Any] = {
            "versions": {name: version(name) for name in ("datatrove", "spacy")},
            "documents": [content_hash(text)[:8] for text in documents],
            "signals": {signal: [measure(probe, text) for text in documents] for signal, probe in PROBES.items()},
            "sentences": [sentences(text) for text in documents],
            "c4": {str(terminal): [c4(text, terminal) for text in documents] for terminal in (True, False)},
            "verdicts": [verdicts(text) for text in documents],
        }
    with tokenizer(None):
        result["spacy_verdicts"] = [verdicts(text) for text in documents]
        result["spacy_words"] = [datatrove_text.split_into_words(text) for kind in passages().values() for text in kind]
    path = Path(__file__).with_name("datatrove_vectors.json")
    lines = [
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"
        for key, value in result.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
