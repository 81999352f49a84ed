"""Settings of de-duplication."""

from __future__ import annotations

from pydantic import Field

from bessemer.artifacts.documents import SPLITS, Split
from bessemer.recipe.settings import Settings


class DedupSettings(Settings):
    """The defaults propose 99.8 % of the pairs at Jaccard 0.8 (1 - (1 - 0.8^6)^20) and verify each of them.

    Signatures include the numbers of the text. If all numbers were equal, sums or tables of the same form would fill
    the same buckets, and `max_candidates` would cut off the real duplicates among them.
    """

    fuzzy: bool = True
    """Whether to remove near duplicates as well as exact copies."""

    threshold: float = Field(0.8, gt=0, le=1)
    """Minimum Jaccard similarity of the shingle sets of near duplicates. Numbers and operators count if they
    lower the similarity by more than a tenth, so sums, tables and programs of the same form stay."""

    ngram_size: int = Field(5, ge=1, le=32)
    """Number of words in a shingle. In scripts written without spaces, every character is a word."""

    num_bands: int = Field(20, ge=1, le=256)
    """Number of bands in the MinHash signature. Two documents are compared if they agree in all rows of a band."""

    rows_per_band: int = Field(6, ge=1, le=32)
    """Number of hashes in a band. A higher number proposes fewer pairs of low similarity."""

    seed: int = Field(1, ge=0, lt=2**63)
    """Seed of the MinHash functions. It affects which pairs are proposed, not whether a pair is a duplicate."""

    max_candidates: int = Field(32, ge=2)
    """Maximum number of documents in a bucket that a document is compared with. Omitted pairs are counted and
    logged."""

    splits: tuple[Split, ...] = Field(SPLITS, min_length=1)
    """Splits from which documents are removed. With `[train]`, all held-out documents stay and their duplicates are
    removed from the split `train`, so held-out text is the same for all settings."""

    alarm_removed_ratio: float = Field(0.5, gt=0, le=1)
    """The log and the ledger report each source that loses more than this share of its documents."""
