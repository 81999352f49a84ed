"""MinHash signatures and their bands.

The chance that two sets agree in one hash of their signatures is their Jaccard similarity s, so they agree in all r
rows of at least one of b bands with probability 1 - (1 - s^r)^b (Leskovec, Rajaraman, Ullman, Mining of Massive
Datasets, 3.4). Signatures are rensa's R-MinHash (Fast Similarity Sketching, Dahlgaard et al. 2017). It is unbiased and
has less variance than independent hashes on small sets. rensa's faster `rho` sketch is not used, because it is biased
(0.757 for two sets of Jaccard 0.5). The output of rensa depends only on its input and its algorithm version; a golden
test detects changes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bessemer.dedup.shingles import ShingleSets
from bessemer.dedup.unicode_folding import mix


def signatures(sets: ShingleSets, num_hashes: int, seed: int) -> npt.NDArray[np.uint32]:
    """Signatures as an array [sets, num_hashes]; the row of an empty set has no meaning."""
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        sets.values, sets.offsets.astype(np.uint64), num_hashes, seed
    )
    return np.asarray(matrix.to_rows(), np.uint32).reshape(len(sets), num_hashes)


def band_keys(rows: npt.NDArray[np.uint32], num_bands: int) -> npt.NDArray[np.uint64]:
    """[sets, num_bands]: the bucket of each band, a 64-bit hash of the band's number and its rows."""
    bands = rows.reshape(len(rows), num_bands, -1).astype(np.uint64)
    keys = np.broadcast_to(mix(np.arange(1, num_bands + 1, dtype=np.uint64)), bands.shape[:2])
    for row in range(bands.shape[2]):
        keys = mix(keys + bands[:, :, row])
    return keys


def proposal_probability(similarity: float, num_bands: int, rows_per_band: int) -> float:
    """The chance that a pair of this Jaccard similarity shares a bucket."""
    return float(1 - (1 - similarity**rows_per_band) ** num_bands)
