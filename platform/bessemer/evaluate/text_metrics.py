"""Metrics of the similarity of a generated answer to its references.

Most metrics take one answer and one reference and range from 0 to 1. BLEU and chrF take a corpus and range from 0 to
100.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

_ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NO_ROUGE_TOKEN = re.compile(r"[^a-z0-9]+")


def normalised(text: str) -> str:
    """The text in lower case, without punctuation, articles and repeated blanks (SQuAD: Rajpurkar et al., 2016)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())


def f1(answer: str, reference: str) -> float:
    """The harmonic mean of precision and recall over the multisets of normalised words (SQuAD)."""
    found, wanted = normalised(answer).split(), normalised(reference).split()
    if not found or not wanted:
        return float(found == wanted)
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted))


def rouge_n(answer: str, reference: str, n: int) -> float:
    """F-measure over n-grams (Lin, 2004). Words are split as in Google's `rouge_score`, without stemming."""
    found, wanted = (_n_grams(_rouge_words(text), n) for text in (answer, reference))
    return _f_measure(sum((found & wanted).values()), sum(found.values()), sum(wanted.values()))


def rouge_l(answer: str, reference: str) -> float:
    """F-measure over the longest common subsequence of words (Lin, 2004), as in Google's `rouge_score`."""
    found, wanted = _rouge_words(answer), _rouge_words(reference)
    return _f_measure(_longest_common_subsequence(found, wanted), len(found), len(wanted))


def _rouge_words(text: str) -> list[str]:
    return _NO_ROUGE_TOKEN.sub(" ", text.lower()).split()


def _n_grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def _f_measure(common: int, found: int, wanted: int) -> float:
    return 2 * common / (found + wanted) if common else 0.0


def _longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    lengths = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for place, other in enumerate(b, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == other else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]


def bleu(answers: Sequence[str], references: Sequence[Sequence[str]], tokenize: str) -> float:
    """BLEU of a corpus, computed by sacrebleu (Papineni et al., 2002; Post, 2018). Each answer has one or more
    references."""
    from sacrebleu.metrics.bleu import BLEU

    return float(BLEU(tokenize=tokenize, force=True).corpus_score(list(answers), _streams(references)).score)


def chrf(answers: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """chrF2 of a corpus, computed by sacrebleu (Popović, 2015)."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().corpus_score(list(answers), _streams(references)).score)


def _streams(references: Sequence[Sequence[str]]) -> Any:
    """The references in sacrebleu's format: list k has the k-th reference of every answer, or None if it has fewer."""
    most = max(len(several) for several in references)
    return [[several[number] if number < len(several) else None for several in references] for number in range(most)]
