"""MinHash proposes as theory says, and its values never change under our feet."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.dedup.shingles import ShingleSets, shingle_sets
from bessemer.dedup.signatures import band_keys, proposal_probability, signatures
from bessemer.dedup.words import find_words


def pairs_of_similarity(shared: int, alone: int, count: int) -> ShingleSets:
    """`count` pairs of random sets, each set with `shared` common and `alone` other elements."""
    generator = np.random.default_rng(7)
    size = shared + alone
    elements = generator.integers(0, 2**64, (count, shared + 2 * alone), dtype=np.uint64)
    first = elements[:, :size]
    second = np.concatenate((elements[:, :shared], elements[:, size:]), axis=1)
    values = np.sort(np.stack((first, second), axis=1).reshape(-1, size), axis=1)
    return ShingleSets(values.ravel(), np.arange(2 * count + 1) * size)


@pytest.mark.parametrize(("shared", "alone"), [(30, 20), (50, 20), (80, 10), (9, 1), (4, 2), (700, 300)])
@pytest.mark.parametrize(("num_bands", "rows_per_band"), [(20, 6), (14, 8)])
def test_the_share_of_proposed_pairs_follows_theory(
    shared: int, alone: int, num_bands: int, rows_per_band: int
) -> None:
    """1 - (1 - s^r)^b within four standard deviations of 1500 draws; agreement of single hashes is s itself."""
    count = 1500
    similarity = shared / (shared + 2 * alone)
    signed = signatures(pairs_of_similarity(shared, alone, count), num_bands * rows_per_band, seed=3)
    agreement = (signed[0::2] == signed[1::2]).mean()
    assert agreement == pytest.approx(
        similarity, abs=4 * (similarity * (1 - similarity) / signed.size * 2) ** 0.5 + 0.002
    )
    keys = band_keys(signed, num_bands)
    proposed = (keys[0::2] == keys[1::2]).any(axis=1).mean()
    expected = proposal_probability(similarity, num_bands, rows_per_band)
    assert proposed == pytest.approx(expected, abs=4 * (expected * (1 - expected) / count) ** 0.5 + 0.005)


def test_a_key_is_of_one_band() -> None:
    """Two rows match only if they are equal and in the same band."""
    signed = np.array([[1, 2, 1, 2], [2, 1, 1, 2]], np.uint32)
    keys = band_keys(signed, 2)
    assert len({*keys.ravel().tolist()}) == 3
    assert keys[0, 1] == keys[1, 1]


def test_golden_signature() -> None:
    """rensa's R-MinHash, version 2: other values need a new version of the stage `dedup`. From rensa 0.5.0, x86-64."""
    sets = shingle_sets(find_words(["a rose is a rose is a rose", "the quick brown fox jumps over the lazy dog"]), 5)
    signed = signatures(sets, 4, seed=1)
    assert signed.tolist() == [
        [1778815833, 446611780, 36546672, 2218842866],
        [486254363, 746780495, 1185301041, 974181105],
    ]
    assert [f"{key:016x}" for key in band_keys(signed, 2).ravel()] == [
        "1b62da859cef6640",
        "9e4e14f8890e3324",
        "be7e3a6eb8b1b65c",
        "1ee27190fb5a9fbf",
    ]


def test_the_seed_matters_and_a_batch_is_its_sets_one_by_one() -> None:
    sets = pairs_of_similarity(5, 3, 10)
    together = signatures(sets, 12, seed=1)
    alone = [signatures(ShingleSets(sets[i], np.array([0, len(sets[i])])), 12, seed=1)[0] for i in range(len(sets))]
    assert (together == np.stack(alone)).all()
    assert (together != signatures(sets, 12, seed=2)).any()
