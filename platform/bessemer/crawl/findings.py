"""The findings of a unit of crawling: an outcome for every URL that it tried, and every URL that it discovered."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

FETCHED = "fetched"
NOFOLLOW = "nofollow"

OUTCOMES = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("evidence", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("threshold", pa.float64()),
        pa.field("status", pa.int16()),
        pa.field("content_type", pa.string()),
        pa.field("digest", pa.string()),
        pa.field("num_bytes", pa.int64()),
        pa.field("fetched_at", pa.timestamp("ms", tz="UTC")),
        pa.field("file", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("length", pa.int64()),
        pa.field("links_left_out", pa.int64()),
    ]
)
"""`state` is `fetched` or the rule that decided otherwise; the columns from `status` on are those of a stored page."""

DISCOVERIES = pa.schema(
    [
        pa.field("url", pa.string(), nullable=False),
        pa.field("depth", pa.int32(), nullable=False),
        pa.field("hops", pa.int32(), nullable=False),
        pa.field("via", pa.string(), nullable=False),
        pa.field("refusal", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("threshold", pa.float64()),
    ]
)
"""`depth` counts links from a seed, `hops` redirects since the last link; `refusal` is empty for a URL to fetch, and
`value` and `threshold` are the measurement and the limit of a refusal that has them."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL to fetch."""

    url: str
    depth: int
    hops: int


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """One row of `OUTCOMES`."""

    url: str
    state: str
    evidence: str | None = None
    value: float | None = None
    threshold: float | None = None
    status: int | None = None
    content_type: str | None = None
    digest: str | None = None
    num_bytes: int | None = None
    fetched_at: datetime | None = None
    file: str | None = None
    offset: int | None = None
    length: int | None = None
    links_left_out: int | None = None


@dataclass
class CrawlFindings:
    """Collects the results of the hosts in one unit. Keeps the best discovery of each URL."""

    outcomes: list[FetchOutcome] = field(default_factory=list)
    _discovered: dict[str, tuple[tuple[bool, int, int, str, str], float | None, float | None]] = field(
        default_factory=dict
    )

    def add(self, outcome: FetchOutcome) -> None:
        self.outcomes.append(outcome)

    def discover(
        self,
        url: str,
        *,
        depth: int,
        hops: int,
        via: str,
        refusal: str,
        value: float | None = None,
        threshold: float | None = None,
    ) -> None:
        """Records a discovery. The best is a URL that may be fetched, then the nearest to a seed, then the first by
        name, so the order of arrival does not matter."""
        found = (bool(refusal), depth, hops, via, refusal)
        if url not in self._discovered or found < self._discovered[url][0]:
            self._discovered[url] = (found, value, threshold)

    def outcomes_table(self) -> pa.Table:
        """Sorted by URL."""
        rows = sorted(self.outcomes, key=lambda outcome: outcome.url)
        return pa.table(
            {
                name: pa.array([getattr(row, name) for row in rows], OUTCOMES.field(name).type)
                for name in OUTCOMES.names
            },
            schema=OUTCOMES,
        )

    def discoveries_table(self) -> pa.Table:
        """Sorted by URL."""
        rows = [
            (url, *found[1:], value, threshold) for url, (found, value, threshold) in sorted(self._discovered.items())
        ]
        columns = list(zip(*rows, strict=True)) or [()] * len(DISCOVERIES)
        arrays = [pa.array(column, kind.type) for column, kind in zip(columns, DISCOVERIES, strict=True)]
        return pa.Table.from_arrays(arrays, schema=DISCOVERIES)
