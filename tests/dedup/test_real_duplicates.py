"""Real near duplicates: two editions of a textbook, seven of a novel, and edited Chinese and Japanese texts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bessemer.dedup.shingles import jaccard, shingle_sets
from bessemer.dedup.signatures import band_keys, proposal_probability, signatures
from bessemer.dedup.words import find_words

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def editions(dataset: Callable[[str], Path]) -> Rows:
    """45 sections in two editions (`a`, `b`), with the exact Jaccard similarity of their word 5-grams."""
    lines = (dataset("neardup_pairs") / "openstax_amgov_2e_3e.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_similarity_agrees_with_the_reference(editions: Rows) -> None:
    """The reference keeps case, digits and punctuation; folding moves no pair by more than 0.04, none across 0.8."""
    first, second = (shingle_sets(find_words([row[side] for row in editions]).folded(), 5) for side in "ab")
    ours = np.array([jaccard(first[i], second[i]) for i in range(len(editions))])
    reference = np.array([row["jaccard_5word"] for row in editions])
    assert np.abs(ours - reference).max() < 0.04
    assert ((ours >= 0.8) == (reference >= 0.8)).all()


def test_proposals_on_real_text_follow_theory(editions: Rows) -> None:
    """Mean share of proposals of real pairs over 100 seeds: 1 - (1 - s^r)^b, within 0.03 for pairs of 0.7 to 0.8."""
    sets = shingle_sets(find_words([row[side] for row in editions for side in "ab"]).folded(), 5)
    similarity = np.array([jaccard(sets[2 * i], sets[2 * i + 1]) for i in range(len(editions))])
    proposed = np.zeros(len(editions))
    for seed in range(100):
        keys = band_keys(signatures(sets, 120, seed), 20)
        proposed += (keys[0::2] == keys[1::2]).any(axis=1) / 100
    expected = np.array([proposal_probability(s, 20, 6) for s in similarity])
    near = (similarity > 0.7) & (similarity < 0.8)
    assert proposed[near].mean() == pytest.approx(expected[near].mean(), abs=0.03)
    assert proposed[similarity >= 0.8].mean() > 0.995


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9])
def test_recall_and_precision_are_whole(
    editions: Rows, threshold: float, make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    """Of each pair at or above the threshold one goes, of every other pair both stay."""
    first, second = (shingle_sets(find_words([row[side] for row in editions]).folded(), 5) for side in "ab")
    texts = {f"{side}/{n}": row[side] for n, row in enumerate(editions) for side in "ab"}
    outcome = deduplicate([make_documents(texts)], threshold=threshold)
    assert len(outcome.urls) < len(texts)
    for number in range(len(editions)):
        stays = [side for side in "ab" if f"{side}/{number}" in outcome.urls]
        assert len(stays) == (1 if jaccard(first[number], second[number]) >= threshold else 2)


def test_one_edition_of_a_novel_stays(
    dataset: Callable[[str], Path], make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    """Seven editions with other headers, line breaks and encodings: the longest stays, all others name it."""
    folder = dataset("neardup_pairs") / "frankenstein_editions"
    texts = {path.name: path.read_text("utf-8", "replace") for path in sorted(folder.iterdir())}
    outcome = deduplicate([make_documents(texts)])
    assert outcome.urls == ["84-0.txt"]
    removed = [verdict for verdict in outcome.verdicts.values() if verdict["verdict"] == "removed"]
    assert len(removed) == 6
    assert all(verdict["evidence"].endswith(" 84-0.txt") and verdict["value"] > 0.92 for verdict in removed)


def edited(text: str, ratio: float) -> str:
    """The text with this share of its characters replaced by others from the same text."""
    generator = random.Random(1)
    return "".join(generator.choice(text) if not c.isspace() and generator.random() < ratio else c for c in text)


@pytest.mark.parametrize("name", ["text_zh_d2l", "text_ja"])
def test_texts_without_spaces(
    name: str,
    dataset: Callable[[str], Path],
    make_documents: Callable[..., pa.Table],
    deduplicate: Callable[..., Any],
) -> None:
    """Chinese chapters and Japanese passages: a lightly edited copy goes, a heavily edited one and all others stay."""
    if name == "text_zh_d2l":
        originals = [path.read_text("utf-8") for path in sorted(dataset(name).glob("*.md"))[:40]]
    else:
        novel = (dataset(name) / "wagahaiwa_nekodearu.txt").read_text("utf-8")
        originals = [novel[i : i + 2000] for i in range(0, 80_000, 2000)]
    texts = {f"original/{n}": text for n, text in enumerate(originals)}
    texts |= {f"light/{n}": edited(text, 0.002) for n, text in enumerate(originals)}
    texts |= {f"heavy/{n}": edited(text, 0.1) for n, text in enumerate(originals)}
    outcome = deduplicate([make_documents(texts)])
    for number in range(len(originals)):
        assert sum(f"{kind}/{number}" in outcome.urls for kind in ("original", "light")) == 1
        assert f"heavy/{number}" in outcome.urls
