"""The presets measure and decide as datatrove does, on three hundred documents of every shape.

The vectors are datatrove's own answers with Bessemer's words in the place of spaCy's, so that everything but the words
is compared exactly; `make_datatrove_vectors.py` regenerates them. With spaCy's words the verdicts agree on all but a
few documents, which `test_verdicts_with_spacys_own_words` bounds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.clean.clean_corpus import make_documents

from bessemer.clean.c4 import C4
from bessemer.clean.fineweb import FineWebQuality
from bessemer.clean.quality import GopherQuality
from bessemer.clean.repetition import GopherRepetition
from bessemer.clean.rules import Findings, Rule
from bessemer.clean.texts import Texts
from bessemer.fingerprint import content_hash

PRESETS: list[Rule] = [GopherRepetition(), GopherQuality(), C4(), FineWebQuality()]
DATATROVES_REASONS = {
    "empty": ("characters", "lines"),
    "dup_para_frac": ("duplicate_paragraph_ratio",),
    "dup_para_char_frac": ("duplicate_paragraph_character_ratio",),
    "dup_line_frac": ("duplicate_line_ratio",),
    "dup_line_char_frac": ("duplicate_line_character_ratio",),
    **{f"top_{n}_gram": (f"top_{n}_gram_character_ratio",) for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": (f"duplicate_{n}_gram_character_ratio",) for n in range(5, 11)},
    "gopher_short_doc": ("words",),
    "gopher_long_doc": ("words",),
    "gopher_below_avg_threshold": ("mean_word_length",),
    "gopher_above_avg_threshold": ("mean_word_length",),
    "gopher_too_many_hashes": ("hashes_per_word",),
    "gopher_too_many_ellipsis": ("ellipses_per_word",),
    "gopher_too_many_bullets": ("bullet_line_ratio",),
    "gopher_too_many_end_ellipsis": ("ellipsis_line_ratio",),
    "gopher_below_alpha_threshold": ("alphabetic_word_ratio",),
    "gopher_enough_stop_words": ("stop_words",),
    "lorem_ipsum": ("lorem_ipsum_lines",),
    "curly_bracket": (
        "curly_bracket_lines",
        "lorem_ipsum_lines",
    ),  # a page with both: the line that comes first decides
    "too_few_sentences": ("sentences",),
    "line_punct_ratio": ("terminal_line_ratio",),
    "short_line_ratio": ("short_line_ratio",),
    "char_dup_ratio": ("duplicate_line_character_ratio",),
    "list_ratio": ("newlines_per_word",),
}


@pytest.fixture(scope="module")
def vectors() -> Any:
    return json.loads(Path(__file__).with_name("datatrove_vectors.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts(make_documents())


@pytest.fixture(scope="module")
def findings(texts: Texts) -> dict[str, Findings]:
    return {str(rule.rule): rule.apply(texts) for rule in PRESETS}


def decisions(rule: Rule, found: Findings, number: int) -> list[str | None]:
    """For each text the signal of the first limit that it breaks."""
    decided: list[str | None] = [None] * number
    for limit in reversed(rule.broken(found.signals, [None] * number)):
        for index in np.flatnonzero(limit.texts).tolist():
            decided[index] = limit.signal
    return decided


def test_the_vectors_are_of_these_documents(vectors: Any, texts: Texts) -> None:
    assert vectors["documents"] == [content_hash(text)[:8] for text in texts.strings]


def test_every_signal_has_datatroves_value(vectors: Any, findings: dict[str, Findings]) -> None:
    assert len(vectors["signals"]) == 23
    for name, expected in vectors["signals"].items():
        rule, _, signal = name.partition("/")
        known = [index for index, value in enumerate(expected) if value is not None]
        assert len(known) > 280, name
        values = findings[rule].signals[signal][known]
        np.testing.assert_allclose(values, [expected[index] for index in known], rtol=1e-7, atol=2e-8, err_msg=name)


def test_c4_keeps_the_lines_that_datatrove_keeps(vectors: Any, texts: Texts) -> None:
    reasons = ("long_word_lines", "unfinished_lines", "short_lines", "javascript_lines", "policy_lines")
    for terminal in (True, False):
        found = C4(terminal_punctuation=terminal).apply(texts)
        left = found.texts or texts
        for index, (digest, counts) in enumerate(vectors["c4"][str(terminal)]):
            lines = [line.strip() for line in left.strings[index].splitlines()]
            assert content_hash("\n".join(filter(None, lines))) == digest, texts.strings[index]
            mine = [int(found.signals[reason][index]) if reason in found.signals else 0 for reason in reasons]
            assert mine == counts


def test_sentences_are_counted_as_datatrove_does(vectors: Any, texts: Texts) -> None:
    found = C4(terminal_punctuation=False).apply(texts)
    assert found.signals["sentences"].tolist() == vectors["sentences"]


def test_verdicts_and_reasons_are_datatroves(vectors: Any, texts: Texts, findings: dict[str, Findings]) -> None:
    for place, rule in enumerate(PRESETS):
        mine = decisions(rule, findings[str(rule.rule)], len(texts))
        for index, theirs in enumerate(row[place] for row in vectors["verdicts"]):
            if theirs == "division by zero":
                continue
            assert mine[index] in (DATATROVES_REASONS[theirs] if theirs else (None,)), (rule.rule, texts.strings[index])


def test_verdicts_with_spacys_own_words(vectors: Any, texts: Texts, findings: dict[str, Findings]) -> None:
    same = total = 0
    for place, rule in enumerate(PRESETS):
        mine = decisions(rule, findings[str(rule.rule)], len(texts))
        theirs = [row[place] for row in vectors["spacy_verdicts"]]
        same += sum((a is None) == (b is None) for a, b in zip(mine, theirs, strict=True))
        total += len(mine)
    assert same / total > 0.99, same / total
