"""crawl: downloads the pages of web sites politely and stores them as WARC files.

The driver keeps the frontier: every known URL and its outcome. It fetches the frontier in waves, and each wave in
rounds. A round gives each host at most `UNIT_URLS` URLs and `UNIT_SECONDS` and packs the hosts into work units. A unit
writes one WARC file, its outcomes and its discoveries. A killed crawl loses the unfinished units, at most two minutes
of work; a stopped crawl loses nothing. If a round fits into one unit, this process fetches it with an event loop that
serves hundreds of hosts, because starting workers would take longer than the work.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, field_validator, model_validator

from bessemer.errors import InputError
from bessemer.formatting import format_count
from bessemer.recipe.inputs import Input
from bessemer.recipe.settings import Size, execution
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.engine.work_units import Unit, run_units

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.crawl.findings import Target
    from bessemer.crawl.frontier import Frontier
    from bessemer.crawl.unit import Policy

UNIT_URLS = 4000
UNIT_SECONDS = 120.0

T = TypeVar("T")
FETCHED = "fetched"
_PRODUCT_TOKEN = r"^[A-Za-z_-]+$"
_OWN_NAMES = (".test", ".localhost", ".example", ".invalid", ".internal", ".local", ".home.arpa")


class Config(StageConfig):
    seeds: list[str] = Field(min_length=1)
    """HTTP or HTTPS addresses at which the crawl starts."""
    allowed_hosts: list[str] | None = Field(None, min_length=1)
    """Hosts to crawl; `*.example.com` means all subdomains. If unset, the hosts of the seeds and of their redirects."""
    include: list[str] = Field([])
    """Regular expressions; if the list is not empty, a URL must contain a match of at least one of them."""
    exclude: list[str] = Field([])
    """Regular expressions; URLs that contain a match of any expression are skipped."""
    max_pages: int = Field(1000, ge=1)
    """Maximum number of pages to keep."""
    max_pages_per_host: int | None = Field(None, ge=1)
    """Maximum number of pages to keep per host."""
    max_depth: int = Field(16, ge=0)
    """Maximum number of links from a seed to a page; the pages in a sitemap are one link away."""
    max_page_bytes: Size = Field(4 << 20, ge=1024)
    """Maximum size of a page; larger pages are skipped."""
    content_types: list[str] = Field(["text/html", "application/xhtml+xml", "text/plain"], min_length=1)
    """Media types to keep; `text/*` means all text types."""
    sitemaps: bool = True
    """Whether the crawl also reads the sites' sitemaps to find pages."""
    user_agent: str = Field("Bessemer", pattern=_PRODUCT_TOKEN)
    """The product token: the name of this crawler in robots.txt files."""
    contact: str | None = execution(None, min_length=3)
    """A web page or e-mail address for site owners, sent with every request; required to crawl public sites."""
    delay_seconds: float = execution(1.0, ge=0)
    """Pause between two requests to one host; longer if the host asks for it or is slow."""
    max_delay_seconds: float = Field(30.0, ge=0)
    """Maximum pause; a host whose robots.txt asks for a longer pause is skipped."""
    max_connections: int = execution(64, ge=1)
    """Maximum number of open connections per worker."""
    max_connections_per_host: int = execution(1, ge=1)
    """Maximum number of simultaneous requests to one host; use more than 1 only for your own servers."""
    timeout_seconds: float = Field(30.0, gt=0)
    """Time limit for one request, from connecting to the last byte."""
    max_retries: int = Field(2, ge=0)
    """Retries after a timeout, a broken connection or body, or a status 429, 502, 503 or 504."""
    allow_private_addresses: bool = False
    """Whether the crawl may connect to private, loopback and link-local addresses."""
    connect_to: dict[str, str] = execution({})
    """Addresses to connect to for a host or `*.suffix`, without asking DNS: `{"*.test": "127.0.0.1:8000"}`. An address
    that starts with `http://` is used without TLS, even for `https://` URLs."""

    @field_validator("seeds")
    @classmethod
    def _seeds_are_urls(cls, seeds: list[str]) -> list[str]:
        from bessemer.crawl.urls import canonical_url

        for seed in seeds:
            if canonical_url(seed) is None:
                raise ValueError(f"`{seed}` is not an address such as `https://example.com/`")
        return seeds

    @field_validator("include", "exclude")
    @classmethod
    def _patterns_compile(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"`{pattern}` is not a regular expression: {error}") from None
        return patterns

    @field_validator("connect_to")
    @classmethod
    def _destinations_are_addresses(cls, connect_to: dict[str, str]) -> dict[str, str]:
        from bessemer.crawl.addresses import parse_destination

        for place in connect_to.values():
            parse_destination(place)
        return connect_to

    @model_validator(mode="after")
    def _strangers_can_reach_us(self) -> Config:
        from bessemer.crawl.addresses import matching_pattern
        from bessemer.crawl.urls import canonical_url, host_of

        if self.contact is None and not self.allow_private_addresses:
            for seed in self.seeds:
                host = host_of(canonical_url(seed) or "")
                if not host.endswith(_OWN_NAMES) and matching_pattern(host, self.connect_to) is None:
                    raise ValueError(
                        f"`contact` is required to crawl `{host}`: a web page or e-mail address for the site's owner"
                    )
        return self


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.artifacts.documents import write_parquet

    with _connections(config, inputs) as (connect_to, on_this_machine):
        frontier = _Crawl(config, draft, context, connect_to, on_this_machine).run()
    _report_seeds(frontier, draft, context)
    _report_limits(frontier, context)
    write_parquet(frontier.index(), draft.data / "index.parquet")
    write_parquet(frontier.ledger(), draft.ledger / "00000.parquet")
    draft.counts = frontier.counts()
    draft.metrics["data/documents_out"] = draft.counts.documents_out
    draft.metrics["data/urls_known"] = len(frontier.table)
    draft.metrics["data/page_bytes"] = draft.counts.bytes_out


@contextmanager
def _connections(config: Config, inputs: Inputs) -> Iterator[tuple[dict[str, str], bool]]:
    """Yields the `connect_to` map, and whether it leads to a server that this function started on this machine."""
    if "site" not in inputs:
        yield config.connect_to, False
        return
    from bessemer.docsite.server import serve

    with serve(inputs["site"].data) as port:
        yield {"*.test": f"http://127.0.0.1:{port}"} | config.connect_to, True


@dataclass
class _Crawl:
    """The driver of one crawl. It saves the frontier after it has merged each wave."""

    config: Config
    draft: Draft
    context: Context
    connect_to: dict[str, str]
    on_this_machine: bool

    def run(self) -> Frontier:
        frontier, number = self._resume()
        while wave := frontier.next_wave():
            outcomes, discoveries = self._fetch(wave, frontier, number)
            frontier = frontier.merge(outcomes, discoveries)
            number += 1
            frontier.save(self._saved(number))
            self._saved(number - 1).unlink(missing_ok=True)
            self.context.log.info(
                "wave %d: %s URLs fetched, %s pages in total, %s URLs known, %s waiting",
                *(
                    number,
                    *map(format_count, (len(wave), frontier.num_pages, len(frontier.table), frontier.num_waiting)),
                ),
            )
        return frontier

    def _resume(self) -> tuple[Frontier, int]:
        """Returns the frontier after the last finished wave, and the number of finished waves."""
        from bessemer.crawl.frontier import CrawlLimits, Frontier
        from bessemer.crawl.urls import authority_of, canonical_url
        from bessemer.storage import files_under, remove_temporary

        config = self.config
        remove_temporary(self.draft.data)
        limits = CrawlLimits(config.max_pages, config.max_depth, config.max_pages_per_host)
        for saved in reversed(files_under(self.draft.work / "waves")):
            if (frontier := self._undamaged(saved, partial(Frontier.load, limits=limits))) is not None:
                return frontier, int(saved.stem)
            self.context.check_lease()
            saved.unlink()
        seeds = [url for url in map(canonical_url, config.seeds) if url]
        scope = self._policy(map(authority_of, seeds)).scope()
        return Frontier.start(seeds, map(scope.refusal, seeds), limits), 0

    @property
    def _receipts(self) -> Path:
        return self.draft.work / "receipts"

    def _saved(self, number: int) -> Path:
        return self.draft.work / "waves" / f"{number:05d}.parquet"

    def _fetch(self, wave: list[Target], frontier: Frontier, number: int) -> tuple[pa.Table, pa.Table]:
        """Fetches a wave in one or more rounds and returns (outcomes, discoveries)."""
        import pyarrow as pa

        from bessemer.crawl.findings import DISCOVERIES, OUTCOMES
        from bessemer.crawl.frontier import shares
        from bessemer.crawl.urls import origin_of

        policy = self._policy(frontier.start_hosts())
        visited = frontier.visited_origins()
        outcomes, discoveries = [OUTCOMES.empty_table()], [DISCOVERIES.empty_table()]
        pages = frontier.num_pages
        expected = min(self.config.max_pages, pages + frontier.num_waiting)
        left, round_number = wave, 0
        while left:
            units: list[Unit] = []
            for share in shares(left, size=UNIT_URLS):
                new_origins = sorted({origin_of(target.url) for target in share} - visited)
                units.append(Unit(f"{number:05d}-{round_number:04d}-{len(units):04d}", (share, new_origins)))
            done: set[str] = set()
            for fetched, linked in self._findings(units, policy, pages, expected):
                outcomes.append(fetched)
                discoveries.append(linked)
                done.update(fetched["url"].to_pylist())
                pages += fetched["state"].to_pylist().count(FETCHED)
            self.context.progress(pages, expected, "pages")
            visited |= {origin_of(url) for url in done}
            left = [target for target in left if target.url not in done]
            round_number += 1
        return pa.concat_tables(outcomes), pa.concat_tables(discoveries)

    def _findings(
        self, units: list[Unit], policy: Policy, pages: int, expected: int
    ) -> list[tuple[pa.Table, pa.Table]]:
        """Runs units and returns (outcomes, discoveries) of each. A unit with a damaged file runs again."""
        from bessemer.artifacts.documents import read_parquet

        def tables(unit: Unit) -> list[pa.Table | None]:
            paths = (self.draft.work / name / f"{unit.name}.parquet" for name in ("outcomes", "discoveries"))
            return [self._undamaged(path, read_parquet) for path in paths]

        self._do(units, policy, pages, expected)
        found = {unit.name: tables(unit) for unit in units}
        damaged = [unit for unit in units if any(table is None for table in found[unit.name])]
        if damaged:
            self.context.check_lease()
            for unit in damaged:
                (self._receipts / f"{unit.name}.json").unlink()
            self._do(damaged, policy, pages, expected)
            found |= {unit.name: tables(unit) for unit in damaged}
        return [(outcomes, discoveries) for outcomes, discoveries in found.values()]

    def _undamaged(self, path: Path, read: Callable[[Path], T]) -> T | None:
        """Reads a file of the unfinished crawl. Returns None if it is damaged or missing."""
        import pyarrow as pa

        try:
            return read(path)
        except (pa.ArrowException, OSError):
            self.context.log.warning("`%s` is damaged; its part of the crawl runs again", path)
            return None

    def _do(self, units: list[Unit], policy: Policy, pages: int, expected: int) -> None:
        """Runs one round in this process or in workers; `pages` is the number of pages fetched before it."""
        context = self.context
        work = partial(_Worker, policy, self.draft.data, self.draft.work)
        make: Callable[[], _Worker] = partial(work, context.stop_file.exists)
        if self.on_this_machine or len(units) == 1:
            fetched = itertools.count(pages + 1)
            make = partial(
                work,
                lambda: context.stopping.is_set() or context.stop_file.exists(),
                lambda: context.progress(next(fetched), expected, "pages"),
            )
            context = replace(context, num_workers=0)
        run_units(units, make, self._receipts, replace(context, progress=_say_nothing))

    def _policy(self, start_hosts: Iterable[str]) -> Policy:
        from bessemer import __version__
        from bessemer.crawl.host import Manners
        from bessemer.crawl.unit import Policy

        config = self.config
        about = f" (+{config.contact})" if config.contact else ""
        return Policy(
            manners=Manners(
                token=config.user_agent,
                delay_seconds=config.delay_seconds,
                max_delay_seconds=max(config.max_delay_seconds, config.delay_seconds),
                max_connections_per_host=config.max_connections_per_host,
                max_retries=config.max_retries,
                read_sitemaps=config.sitemaps and config.max_depth > 0,
                adopt_redirected_seeds=config.allowed_hosts is None,
            ),
            user_agent=f"{config.user_agent}/{__version__}{about}",
            hosts=tuple(config.allowed_hosts or start_hosts),
            include=tuple(config.include),
            exclude=tuple(config.exclude),
            content_types=tuple(config.content_types),
            max_page_bytes=config.max_page_bytes,
            timeout_seconds=config.timeout_seconds,
            max_connections=config.max_connections,
            allow_private_addresses=config.allow_private_addresses,
            connect_to=self.connect_to,
        )


def _say_nothing(done: int, total: int, unit: str, **facts: Any) -> None:
    """Ignores the progress in units, because the crawl reports pages instead."""


@dataclass
class _Worker:
    """Fetches units in one process. A unit is (targets, origins whose sitemaps are unread)."""

    policy: Policy
    data: Path
    work: Path
    should_stop: Callable[[], bool]
    report: Callable[[], None] = lambda: None

    def __call__(self, unit: Unit, *, careful: bool) -> dict[str, Any]:
        from bessemer.artifacts.documents import write_parquet
        from bessemer.crawl.unit import crawl_unit

        targets, new_origins = unit.payload
        findings = crawl_unit(
            targets,
            new_origins,
            self.policy,
            self.data / f"{unit.name}.warc.gz",
            self.work / "robots",
            seconds=UNIT_SECONDS,
            should_stop=self.should_stop,
            report=self.report,
            careful=careful,
        )
        outcomes = findings.outcomes_table()
        write_parquet(findings.discoveries_table(), self.work / "discoveries" / f"{unit.name}.parquet")
        write_parquet(outcomes, self.work / "outcomes" / f"{unit.name}.parquet")
        return {"urls": len(outcomes)}


def _report_seeds(frontier: Frontier, draft: Draft, context: Context) -> None:
    """Warns of seeds without a page. If no page was fetched, deletes the attempt and raises InputError."""
    starts = frontier.starts().sort_by("url").select(["url", "state", "evidence"]).to_pylist()
    failed = [start for start in starts if start["state"] not in (FETCHED, "redirect")]
    if frontier.num_pages:
        for start in failed:
            context.log.warning("no page at `%s`: %s", start["url"], _reason(start))
        return
    for folder in (draft.work, draft.data):
        shutil.rmtree(folder)
    first = (failed or starts)[0]
    raise InputError(
        f"no page could be crawled: `{first['url']}` gave {_reason(first)}"
        + (f", and {len(failed) - 1} more seeds failed" if len(failed) > 1 else ""),
        hint=_HINTS.get(first["state"], "check the `seeds`, `include`, `exclude` and `allowed_hosts` of `crawl`"),
    )


def _report_limits(frontier: Frontier, context: Context) -> None:
    """Warns of every limit that excluded URLs, with the number of URLs."""
    from bessemer.crawl.limits import EXPLANATION, LINKS_PER_PAGE

    removed = frontier.counts().removed_by_rule
    for rule, explanation in EXPLANATION.items():
        count = removed.get(rule, 0)
        if rule == LINKS_PER_PAGE:
            count = max(count, frontier.num_links_left_out)
        if count:
            urls = "1 URL" if count == 1 else f"{format_count(count)} URLs"
            context.log.warning("%s excluded by `%s`: %s", urls, rule, explanation)


def _reason(start: dict[str, str]) -> str:
    return f"`{start['state']}` ({start['evidence']})" if start["evidence"] else f"`{start['state']}`"


_HINTS = {
    "unknown_host": "check the spelling of the seed and the network of this machine",
    "connection_failed": "check that the site is up and the address and port are right",
    "timeout": "check that the site is up, or raise `timeout_seconds`",
    "private_address": "set `allow_private_addresses: true` to crawl hosts of your own network",
    "robots": "the site's robots.txt forbids it; ask the site's owner, or choose other seeds",
    "robots_unavailable": "a site without a readable robots.txt may not be crawled; try again later",
    "crawl_delay": "the site asks for long pauses; raise `max_delay_seconds` to crawl it",
    "content_type": "add the type to `content_types`",
    "out_of_scope": "add the host to `allowed_hosts`",
    "excluded": "check `include` and `exclude`",
}

STAGE = Stage(
    kind="crawl",
    version=7,
    config=Config,
    inputs=(Input("site", optional=True),),
    produces="pages",
    run=run,
    libraries=("ada-url", "charset-normalizer", "lxml", "protego", "webencodings"),
)
