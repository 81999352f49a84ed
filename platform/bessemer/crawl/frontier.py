"""Every URL that a crawl knows, its outcome, and the URLs to fetch next.

The crawl proceeds in waves. A wave has all waiting URLs at the same distance from a seed (links first, then redirects),
up to the page limits. URLs are ordered by a hash, so a limit takes a random sample. A wave is fetched completely, then
its discoveries are merged. So the site and the settings alone determine the pages of a crawl; timing, workers and
restarts do not matter. A limit counts pages, and the number of URLs in flight never exceeds the number of missing
pages. The cost is a barrier: each wave waits for its slowest host.

Memory is about 200 bytes per URL, in a table that is written once per wave. Merging costs one sort of the open URLs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from bessemer.artifacts.documents import read_parquet, write_parquet
from bessemer.artifacts.ledger import CRASHED, KEPT, REMOVED, Counts, ledger_table
from bessemer.artifacts.pages import INDEX
from bessemer.crawl.findings import FETCHED, NOFOLLOW, OUTCOMES, Target
from bessemer.crawl.limits import MAXIMUM
from bessemer.crawl.scope import EXCLUDED, FILE_TYPE, OUT_OF_SCOPE, TRAP
from bessemer.crawl.urls import authority_of
from bessemer.fingerprint import origin_id

WAITING = ""
TOO_DEEP, PAGE_LIMIT, HOST_PAGE_LIMIT = "too_deep", "page_limit", "host_page_limit"
_PREFERENCE = {state: rank for rank, state in enumerate((WAITING, TOO_DEEP, NOFOLLOW, *MAXIMUM))}
"""States that a better discovery of the same URL replaces, best first. Any other refusal is final."""
_UNTRIED = [*_PREFERENCE, PAGE_LIMIT, HOST_PAGE_LIMIT, OUT_OF_SCOPE, EXCLUDED, FILE_TYPE, TRAP]

_PLACE = [
    pa.field("url", pa.string()),
    pa.field("host", pa.string()),
    pa.field("depth", pa.int32()),
    pa.field("hops", pa.int32()),
    pa.field("via", pa.string()),
    pa.field("created", pa.bool_()),
    pa.field("order", pa.uint64()),
]
_RESULT = [field.with_nullable(True) for field in OUTCOMES if field.name != "url"]
SCHEMA = pa.schema([*_PLACE, *_RESULT])


@dataclass(frozen=True)
class CrawlLimits:
    max_pages: int
    max_depth: int
    max_pages_per_host: int | None = None


@dataclass(frozen=True)
class Frontier:
    """The immutable state of a crawl, with one row per URL. Each step returns a new frontier."""

    table: pa.Table
    limits: CrawlLimits

    @staticmethod
    def start(seeds: Iterable[str], refusals: Iterable[str], limits: CrawlLimits) -> Frontier:
        """A frontier of distinct canonical seed URLs. `refusals` has the reason not to fetch each one, or an empty
        text."""
        found = dict(zip(seeds, refusals, strict=True))
        zeros = pa.array([0] * len(found), pa.int32())
        no_page = pa.array([""] * len(found))
        urls = pa.array(list(found), pa.string())
        return Frontier(_rows(urls, zeros, zeros, no_page, pa.array(list(found.values())), created=False), limits)

    @staticmethod
    def load(path: Path, limits: CrawlLimits) -> Frontier:
        return Frontier(read_parquet(path), limits)

    def save(self, path: Path) -> None:
        write_parquet(self.table, path)

    @property
    def num_pages(self) -> int:
        return len(self.pages())

    @property
    def num_waiting(self) -> int:
        return len(self.table.filter(pc.equal(self.table["state"], WAITING)))

    def pages(self) -> pa.Table:
        return self.table.filter(pc.equal(self.table["state"], FETCHED))

    @property
    def num_links_left_out(self) -> int:
        """Number of links beyond the limits of their pages, including links without a row."""
        return int(pc.sum(self.table["links_left_out"]).as_py() or 0)

    def starts(self) -> pa.Table:
        """The seeds and the targets of their redirects."""
        return self.table.filter(pc.equal(self.table["depth"], 0))

    def start_hosts(self) -> list[str]:
        return sorted(self.starts()["host"].unique().to_pylist())

    def visited_origins(self) -> set[str]:
        """`https://example.com` of every URL that was tried."""
        tried = self.table.filter(pc.invert(pc.is_in(self.table["state"], pa.array(_UNTRIED))))
        return set(pc.replace_substring_regex(tried["url"], "^([a-z]+://[^/]+).*", r"\1").unique().to_pylist())

    def next_wave(self) -> list[Target]:
        """The URLs to fetch now, in order; empty when the crawl is done."""
        waiting = self.table.filter(pc.equal(self.table["state"], WAITING))
        for column in ("depth", "hops"):
            waiting = waiting.filter(pc.equal(waiting[column], pc.min(waiting[column])))
        waiting = waiting.sort_by([("order", "ascending"), ("url", "ascending")])
        missing = self.limits.max_pages - self.num_pages
        per_host = self.limits.max_pages_per_host
        if per_host is not None:
            taken = _count(self.pages()["host"])
            chosen = []
            for host in waiting["host"].to_pylist():
                taken[host] += 1
                chosen.append(taken[host] <= per_host)
            waiting = waiting.filter(pa.array(chosen, pa.bool_()))
        columns = (waiting[name].to_pylist() for name in ("url", "depth", "hops"))
        return [Target(*row) for row in zip(*columns, strict=True)][:missing]

    def merge(self, outcomes: pa.Table, discoveries: pa.Table) -> Frontier:
        """The frontier after a wave with these outcomes (`OUTCOMES`) and discoveries (`DISCOVERIES`)."""
        was_tried = pc.is_in(self.table["url"], outcomes["url"].combine_chunks())
        tried = self.table.filter(was_tried).sort_by("url")
        outcomes = outcomes.sort_by("url")
        assert tried["url"].equals(outcomes["url"]), "outcomes of URLs that were not asked for"
        tried = tried.select([field.name for field in _PLACE])
        for field in _RESULT:
            tried = tried.append_column(field, outcomes[field.name])
        others = self.table.filter(pc.invert(was_tried))
        is_open = pc.is_in(others["state"], pa.array(list(_PREFERENCE)))
        settled = pa.concat_tables([tried, others.filter(pc.invert(is_open))])
        new = discoveries.filter(pc.invert(pc.is_in(discoveries["url"], settled["url"].combine_chunks())))
        open_rows = _best(pa.concat_tables([others.filter(is_open), self._discovered(new)]))
        return Frontier(pa.concat_tables([settled, open_rows]).combine_chunks(), self.limits)._closed()

    def ledger(self) -> pa.Table:
        """A verdict on every URL, sorted by URL."""
        table = self.table.sort_by("url")
        fetched = pc.equal(table["state"], FETCHED)
        nothing = pa.scalar(None, pa.string())
        found_on = pc.binary_join_element_wise(pa.scalar("found on "), table["via"], "")
        found_on = pc.if_else(pc.equal(table["via"], ""), nothing, found_on)
        both = pc.binary_join_element_wise(table["evidence"], found_on, "; ")  # null where either is
        evidence = pc.coalesce(both, table["evidence"], found_on)
        ledger = ledger_table(
            [origin_id(url) for url in table["url"].to_pylist()],
            table["url"],
            pc.if_else(fetched, KEPT, pc.if_else(pc.equal(table["state"], CRASHED), CRASHED, REMOVED)),
            rules=pc.if_else(fetched, nothing, table["state"]),
            values=table["value"].to_numpy(),
            thresholds=table["threshold"].to_numpy(),
            evidence=pc.if_else(fetched, nothing, evidence),
            signals={
                name: table[name].cast(pa.float64()).to_numpy() for name in ("depth", "num_bytes", "links_left_out")
            },
        )
        return ledger.set_column(
            ledger.schema.get_field_index("created"), ledger.schema.field("created"), table["created"]
        )

    def index(self) -> pa.Table:
        """The positions of the stored pages, sorted by file and offset."""
        return self.pages().sort_by([("file", "ascending"), ("offset", "ascending")]).select(INDEX.names).cast(INDEX)

    def counts(self) -> Counts:
        """The counts of the ledger: seeds are in, discovered URLs are created, pages are out."""
        pages, created = self.pages(), int(pc.sum(self.table["created"]).as_py() or 0)
        reasons = _count(self.table["state"])
        del reasons[FETCHED]
        counts = Counts(
            documents_in=len(self.table) - created,
            created=created,
            documents_out=len(pages),
            removed=sum(reasons.values()),
            bytes_out=int(pc.sum(pages["num_bytes"]).as_py() or 0),
            removed_by_rule=dict(sorted(reasons.items())),
        )
        counts.check()
        return counts

    def _discovered(self, discoveries: pa.Table) -> pa.Table:
        too_deep = pc.and_(
            pc.greater(discoveries["depth"], self.limits.max_depth), pc.equal(discoveries["refusal"], WAITING)
        )
        state = pc.if_else(too_deep, TOO_DEEP, discoveries["refusal"])
        rows = _rows(
            discoveries["url"],
            discoveries["depth"],
            discoveries["hops"],
            discoveries["via"],
            state,
            created=True,
            value=discoveries["value"],
            threshold=discoveries["threshold"],
        )
        return _with_limit(rows, too_deep, pc.cast(discoveries["depth"], pa.float64()), self.limits.max_depth)

    def _closed(self) -> Frontier:
        """Gives verdicts to the waiting URLs that the limits no longer allow."""
        table = self.table
        waiting = pc.equal(table["state"], WAITING)
        if self.num_pages >= self.limits.max_pages:
            return Frontier(_close(table, waiting, PAGE_LIMIT, self.limits.max_pages), self.limits)
        per_host = self.limits.max_pages_per_host
        if per_host is None:
            return self
        full = [host for host, count in _count(self.pages()["host"]).items() if count >= per_host]
        beyond = pc.and_(waiting, pc.is_in(table["host"], pa.array(full, pa.string())))
        return Frontier(_close(table, beyond, HOST_PAGE_LIMIT, per_host), self.limits)


def _rows(
    urls: pa.Array,
    depth: pa.Array,
    hops: pa.Array,
    via: pa.Array,
    state: pa.Array,
    *,
    created: bool,
    **more: pa.ChunkedArray,
) -> pa.Table:
    texts = urls.to_pylist()
    columns = {
        **more,
        "url": urls,
        "host": pa.array([authority_of(url) for url in texts], pa.string()),
        "depth": depth,
        "hops": hops,
        "via": via,
        "created": pa.array([created] * len(texts), pa.bool_()),
        "order": pa.array([xxhash.xxh3_64_intdigest(url.encode()) for url in texts], pa.uint64()),
        "state": state,
    }
    return pa.table({field.name: columns.get(field.name, pa.nulls(len(texts), field.type)) for field in SCHEMA}).cast(
        SCHEMA
    )


def _best(table: pa.Table) -> pa.Table:
    """The best row of each URL: one that may be fetched, then the nearest to a seed, then the first by name."""
    rank = [_PREFERENCE.get(state, len(_PREFERENCE)) for state in table["state"].to_pylist()]
    keys = ["url", "rank", "depth", "hops", "via"]
    ranked = table.append_column("rank", pa.array(rank, pa.int8())).sort_by([(key, "ascending") for key in keys])
    urls = ranked["url"].to_numpy(zero_copy_only=False)
    first = np.ones(len(urls), bool)
    first[1:] = urls[1:] != urls[:-1]
    return ranked.filter(pa.array(first)).drop_columns("rank")


def _close(table: pa.Table, where: pa.ChunkedArray, state: str, limit: int) -> pa.Table:
    closed = table.set_column(
        SCHEMA.get_field_index("state"), SCHEMA.field("state"), pc.if_else(where, state, table["state"])
    )
    return _with_limit(closed, where, pa.scalar(None, pa.float64()), limit)


def _with_limit(table: pa.Table, where: pa.ChunkedArray, value: pa.Array | pa.Scalar, limit: int) -> pa.Table:
    for name, number in (("value", value), ("threshold", pa.scalar(float(limit)))):
        column = pc.if_else(where, number, table[name])
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return table


def _count(column: pa.ChunkedArray) -> Counter[str]:
    counts = pc.value_counts(column)
    return Counter(dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))


def shares(targets: Sequence[Target], *, size: int) -> list[list[Target]]:
    """Splits a wave into units, with hosts in order of name and all URLs of a host in one unit.

    A unit has at most `size` URLs per host. Later calls return the other URLs of a host.
    """
    by_host: dict[str, list[Target]] = {}
    for target in targets:
        by_host.setdefault(authority_of(target.url), []).append(target)
    units: list[list[Target]] = []
    for host in sorted(by_host):
        share = by_host[host][:size]
        if not units or len(units[-1]) + len(share) > size:
            units.append([])
        units[-1].extend(share)
    return units
