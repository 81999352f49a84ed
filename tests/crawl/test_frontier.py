"""The frontier: every URL has one verdict, limits count pages, and the crawl follows from the site alone."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.crawl.findings import FETCHED, CrawlFindings, FetchOutcome, Target
from bessemer.crawl.frontier import CrawlLimits, Frontier, shares

Graph = dict[str, tuple[str, list[str]]]
"""The answer of each URL: a state, and its links (or the target of its redirect)."""


def crawl(graph: Graph, seeds: list[str], limits: CrawlLimits, *, at_once: int = 1000, shuffle: int = 0) -> Frontier:
    """Crawls a graph: `at_once` URLs a unit, in an order that `shuffle` decides."""
    frontier = Frontier.start(seeds, [""] * len(seeds), limits)
    order = random.Random(shuffle)
    while wave := frontier.next_wave():
        assert len(wave) <= limits.max_pages - frontier.num_pages
        order.shuffle(wave)
        tables = []
        for start in range(0, len(wave), at_once):
            findings = CrawlFindings()
            for target in wave[start : start + at_once]:
                visit(graph, target, findings)
            tables.append((findings.outcomes_table(), findings.discoveries_table()))
        frontier = frontier.merge(*(pa.concat_tables(parts) for parts in zip(*tables, strict=True)))
    return frontier


def visit(graph: Graph, target: Target, findings: CrawlFindings) -> None:
    state, links = graph.get(target.url, ("http_404", []))
    if state == "redirect":
        for url in links[:1]:
            findings.discover(url, depth=target.depth, hops=target.hops + 1, via=target.url, refusal="")
    else:
        for url in links:
            refusal = "" if url in graph else "out_of_scope"
            findings.discover(url, depth=target.depth + 1, hops=0, via=target.url, refusal=refusal)
    page = {"file": "a", "offset": len(target.url), "length": 1, "num_bytes": 10} if state == FETCHED else {}
    findings.add(FetchOutcome(target.url, state, **page))  # type: ignore[arg-type]


def states(frontier: Frontier) -> dict[str, str]:
    return dict(zip(frontier.table["url"].to_pylist(), frontier.table["state"].to_pylist(), strict=True))


def url(name: object, host: str = "a.test") -> str:
    return f"http://{host}/{name}"


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = [url(n, f"{'ab'[n % 2]}.test") for n in range(draw(st.integers(1, 25)))]
    node = st.tuples(
        st.sampled_from([FETCHED, FETCHED, FETCHED, "redirect", "http_404", "robots"]),
        st.lists(st.sampled_from([*names, url("x", "elsewhere.test")]), max_size=6),
    )
    return {name: draw(node) for name in names}


some_limits = st.builds(
    CrawlLimits,
    max_pages=st.integers(1, 30),
    max_depth=st.integers(0, 6),
    max_pages_per_host=st.none() | st.integers(1, 8),
)


@settings(deadline=None, max_examples=25)
@given(graph=graphs(), limits=some_limits, at_once=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_crawl_follows_from_the_site_alone(graph: Graph, limits: CrawlLimits, at_once: int, seed: int) -> None:
    """The URLs, verdicts and depths do not depend on the units of a wave, or on their order."""
    whole = crawl(graph, list(graph)[:2], limits).table.sort_by("url")
    parts = crawl(graph, list(graph)[:2], limits, at_once=at_once, shuffle=seed).table.sort_by("url")
    assert whole.equals(parts)


@settings(deadline=None, max_examples=25)
@given(graph=graphs(), limits=some_limits)
def test_laws(graph: Graph, limits: CrawlLimits) -> None:
    """In + created = out + removed; each URL once; nothing waits at the end; limits hold."""
    frontier = crawl(graph, list(graph)[:2], limits)
    counts = frontier.counts()
    table = frontier.table
    assert counts.documents_in == len(list(graph)[:2])
    assert counts.documents_in + counts.created == counts.documents_out + counts.removed == len(table)
    assert len(set(table["url"].to_pylist())) == len(table)
    assert "" not in states(frontier).values()
    assert frontier.num_pages <= limits.max_pages
    hosts = frontier.pages()["host"].to_pylist()
    assert max(map(hosts.count, hosts), default=0) <= (limits.max_pages_per_host or 99)
    assert (pc.max(frontier.pages()["depth"]).as_py() or 0) <= limits.max_depth
    ledger = frontier.ledger()
    assert ledger["url"].to_pylist() == sorted(table["url"].to_pylist())
    assert pc.sum(ledger["created"]).as_py() == counts.created or not counts.created
    assert set(pc.filter(ledger["rule"], pc.equal(ledger["verdict"], "kept")).to_pylist()) <= {None}


def test_depth_is_the_shortest_way_and_redirects_cost_none() -> None:
    graph: Graph = {
        url(0): (FETCHED, [url(1), url(2)]),
        url(1): (FETCHED, [url(3)]),
        url(2): ("redirect", [url(3)]),
        url(3): (FETCHED, [url(4)]),
        url(4): (FETCHED, []),
    }
    found = crawl(graph, [url(0)], CrawlLimits(max_pages=10, max_depth=2))
    depth = dict(zip(found.table["url"].to_pylist(), found.table["depth"].to_pylist(), strict=True))
    assert depth == {url(0): 0, url(1): 1, url(2): 1, url(3): 1, url(4): 2}
    assert found.num_pages == 4
    shallow = crawl(graph, [url(0)], CrawlLimits(max_pages=10, max_depth=0))
    assert states(shallow) == {url(0): FETCHED, url(1): "too_deep", url(2): "too_deep"}


def test_a_redirect_of_a_seed_is_no_deeper_than_the_seed() -> None:
    graph: Graph = {
        url(0): (FETCHED, [url(2)]),
        url(1): ("redirect", [url(2)]),
        url(2): (FETCHED, []),
    }
    found = crawl(graph, [url(0), url(1)], CrawlLimits(max_pages=10, max_depth=0))
    assert states(found)[url(2)] == FETCHED


def test_a_link_that_may_be_followed_outweighs_one_that_may_not() -> None:
    frontier = Frontier.start([url(0)], [""], CrawlLimits(max_pages=10, max_depth=3))
    findings = CrawlFindings()
    findings.discover(url(1), depth=1, hops=0, via=url(0), refusal="nofollow")
    findings.discover(url(2), depth=1, hops=0, via=url(0), refusal="nofollow")
    findings.discover(url(3), depth=1, hops=0, via=url(0), refusal="")
    findings.add(FetchOutcome(url(0), FETCHED))
    frontier = frontier.merge(findings.outcomes_table(), findings.discoveries_table())
    later = CrawlFindings()
    later.discover(url(1), depth=2, hops=0, via=url(3), refusal="")
    later.add(FetchOutcome(url(3), FETCHED))
    frontier = frontier.merge(later.outcomes_table(), later.discoveries_table())
    assert states(frontier) == {url(0): FETCHED, url(1): "", url(2): "nofollow", url(3): FETCHED}


def test_failures_do_not_use_up_the_limit() -> None:
    graph: Graph = {url(0): (FETCHED, [url(n) for n in range(1, 21)])}
    graph |= {url(n): (FETCHED if n % 2 else "http_404", []) for n in range(1, 21)}
    found = crawl(graph, [url(0)], CrawlLimits(max_pages=11, max_depth=3))
    assert found.num_pages == 11
    assert set(states(found).values()) == {FETCHED, "http_404"}
    cut = crawl(graph, [url(0)], CrawlLimits(max_pages=5, max_depth=3))
    assert list(states(cut).values()).count("page_limit") > 0
    (row,) = {(r["rule"], r["threshold"]) for r in cut.ledger().to_pylist() if r["rule"] == "page_limit"}
    assert row == ("page_limit", 5.0)


def test_seeds_that_are_refused_have_their_verdict() -> None:
    frontier = Frontier.start([url(0), url("a.zip")], ["", "file_type"], CrawlLimits(max_pages=3, max_depth=1))
    assert [target.url for target in frontier.next_wave()] == [url(0)]
    assert frontier.counts().removed_by_rule == {"": 1, "file_type": 1}


def test_saved_and_loaded(tmp_path: Path) -> None:
    limits = CrawlLimits(max_pages=2, max_depth=3)
    graph: Graph = {url(n): (FETCHED, [url(n + 1), url("x", "b.test")]) for n in range(6)}
    frontier = crawl(graph, [url(0)], limits)
    frontier.save(tmp_path / "f.parquet")
    again = Frontier.load(tmp_path / "f.parquet", limits)
    assert again.table.equals(frontier.table)
    assert again.visited_origins() == {"http://a.test"}
    assert again.start_hosts() == ["a.test"]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_shares_keep_hosts_whole_and_bounded(size: int) -> None:
    targets = [Target(url(n, f"{'abcd'[n % 4]}.test"), 1, 0) for n in range(20)]
    units = shares(targets, size=size)
    assert all(0 < len(unit) <= size for unit in units)
    owners: dict[str, int] = {}
    for number, unit in enumerate(units):
        for target in unit:
            assert owners.setdefault(target.url[:13], number) == number
    assert sum(map(len, units)) == min(20, 4 * min(size, 5))
