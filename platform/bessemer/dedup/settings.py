"""Settings of de-duplication."""

from __future__ import annotations

from pydantic import Field

from bessemer.artifacts.documents import SPLITS, Split
from bessemer.recipe.settings import Settings


class DedupSettings(Settings):
    """The defaults propose 99.8 % of the pairs at Jaccard 0.8 (1 - (1 - 0.8^6)^20) and verify each of them.

    Pairs are proposed on text with its numbers. With all numbers equal, sums or tables of one form would crowd the same
    buckets, and `max_candidates` would hide the duplicates among them.
    """

    fuzzy: bool = True
    """Whether near duplicates are removed too, or exact copies only."""

    threshold: float = Field(0.8, gt=0, le=1)
    """Lowest Jaccard similarity of near duplicates' shingle sets. Numbers and operators count if more than a tenth of
    the similarity rests on them, so sums, tables and programs of the same form stay."""

    ngram_size: int = Field(5, ge=1, le=32)
    """Words in a shingle; in scripts written without spaces every character is a word."""

    num_bands: int = Field(20, ge=1, le=256)
    """Bands of the MinHash signature: two documents are compared if they agree in all rows of one band."""

    rows_per_band: int = Field(6, ge=1, le=32)
    """Hashes in a band; more of them propose fewer pairs of low similarity."""

    seed: int = Field(1, ge=0, lt=2**63)
    """Seed of the MinHash functions; decides which pairs are proposed, never whether a pair is a duplicate."""

    max_candidates: int = Field(32, ge=2)
    """In one bucket a document is compared with at most this many others; the pairs left out are counted and logged."""

    splits: tuple[Split, ...] = Field(SPLITS, min_length=1)
    """Splits from which documents are removed. With `[train]`, all held-out documents stay and their duplicates are
    removed from the split `train`, so held-out text is the same for all settings."""

    alarm_removed_ratio: float = Field(0.5, gt=0, le=1)
    """A source that loses more than this share of its documents is reported, in the log and in the ledger."""
