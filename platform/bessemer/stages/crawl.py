"""crawl: web sites to pages, in waves of work units, politely.

The driver keeps the frontier (every known URL and its outcome). A wave is fetched in rounds: each round gives each
host at most `UNIT_URLS` URLs and `UNIT_SECONDS`, packs hosts into units, and a unit leaves one WARC file, its outcomes
and its discoveries. A killed crawl loses the units under way, at most two minutes of work; a stopped one loses
nothing. A round that fits into one unit is done in this process, where an event loop keeps hundreds of hosts busy;
starting workers for it would take longer than the work.
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
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from bessemer.errors import InputError
from bessemer.recipe.settings import Size, execution
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig
from bessemer.stages.units import Unit, run_units
from bessemer.units import format_count

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.crawl.findings import Target
    from bessemer.crawl.frontier import Frontier
    from bessemer.crawl.unit import Policy

UNIT_URLS = 4000
UNIT_SECONDS = 120.0

FETCHED = "fetched"
_PRODUCT_TOKEN = r"^[A-Za-z_-]+$"
_OWN_NAMES = (".test", ".localhost", ".example", ".invalid", ".internal", ".local", ".home.arpa")


class Config(StageConfig):
    seeds: list[str] = Field(min_length=1)
    """Where the crawl begins: HTTP or HTTPS addresses."""
    allowed_hosts: list[str] | None = Field(None, min_length=1)
    """Hosts to stay on, `*.example.com` for all below one; if unset, those of the seeds and of where seeds redirect."""
    include: list[str] = Field([])
    """Regular expressions; if there are any, a URL must contain a match of one of them."""
    exclude: list[str] = Field([])
    """Regular expressions; URLs that match any of them are left out."""
    max_pages: int = Field(1000, ge=1)
    """Pages to keep at most."""
    max_pages_per_host: int | None = Field(None, ge=1)
    """Pages to keep of one host at most."""
    max_depth: int = Field(16, ge=0)
    """Maximum number of links from a seed to a page; the pages in a sitemap are one link away."""
    max_page_bytes: Size = Field(4 << 20, ge=1024)
    """A longer page is left out."""
    content_types: list[str] = Field(["text/html", "application/xhtml+xml", "text/plain"], min_length=1)
    """Media types to keep, `text/*` for a family."""
    sitemaps: bool = True
    """Whether pages are also found through the sites' sitemaps."""
    user_agent: str = Field("Bessemer", pattern=_PRODUCT_TOKEN)
    """The product token: the name by which robots.txt files may address this crawler."""
    contact: str | None = execution(None, min_length=3)
    """A web page or e-mail address for site owners, sent with every request; required to crawl others' sites."""
    delay_seconds: float = execution(1.0, ge=0)
    """Pause between two requests to one host; longer where the host asks for it or is slow."""
    max_delay_seconds: float = Field(30.0, ge=0)
    """The longest pause; a host whose robots.txt asks for more is left out."""
    max_connections: int = execution(64, ge=1)
    """Open connections of one worker at most."""
    max_connections_per_host: int = execution(1, ge=1)
    """Requests to one host at a time; more than one is for one's own servers."""
    timeout_seconds: float = Field(30.0, gt=0)
    """Time for one request, from connecting to the last byte."""
    max_retries: int = Field(2, ge=0)
    """Further attempts after a timeout, a broken connection or body, or a status 429, 502, 503 or 504."""
    allow_private_addresses: bool = False
    """Whether hosts with private, loopback and link-local addresses may be crawled."""
    connect_to: dict[str, str] = execution({})
    """Where to connect for a host or `*.suffix`, not asking the name service: `{"*.test": "127.0.0.1:8000"}`; with
    `http://` before the address, without TLS whatever the URLs say."""

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
                        f"`contact` is needed to crawl `{host}`: a web page or e-mail address for the site's owner"
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
    """Yields where to connect to, and whether that is a server on this machine's loopback, started for the crawl."""
    if "site" not in inputs:
        yield config.connect_to, False
        return
    from bessemer.docsite.server import serve

    with serve(inputs["site"].data) as port:
        yield {"*.test": f"http://127.0.0.1:{port}"} | config.connect_to, True


@dataclass
class _Crawl:
    """The driver of one crawl: wave after wave, each saved when it is merged."""

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
                "wave %d: %s URLs fetched, %s pages in all, %s URLs known, %s waiting",
                *(
                    number,
                    *map(format_count, (len(wave), frontier.num_pages, len(frontier.table), frontier.num_waiting)),
                ),
            )
        return frontier

    def _resume(self) -> tuple[Frontier, int]:
        """The frontier as the last finished wave left it, and how many waves are finished."""
        from bessemer.crawl.frontier import Frontier, Limits
        from bessemer.crawl.urls import authority_of, canonical_url
        from bessemer.storage import files_under, remove_temporary

        config = self.config
        remove_temporary(self.draft.data)
        limits = Limits(config.max_pages, config.max_depth, config.max_pages_per_host)
        saved = files_under(self.draft.work / "waves")
        if saved:
            return Frontier.load(saved[-1], limits), int(saved[-1].stem)
        seeds = [url for url in map(canonical_url, config.seeds) if url]
        scope = self._policy(map(authority_of, seeds)).scope()
        return Frontier.start(seeds, map(scope.refusal, seeds), limits), 0

    def _saved(self, number: int) -> Path:
        return self.draft.work / "waves" / f"{number:05d}.parquet"

    def _fetch(self, wave: list[Target], frontier: Frontier, number: int) -> tuple[pa.Table, pa.Table]:
        """(outcomes, discoveries) of a wave, in as many rounds as it takes."""
        import pyarrow as pa

        from bessemer.artifacts.documents import read_parquet
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
            self._do(units, policy, pages, expected)
            done: set[str] = set()
            for unit in units:
                outcomes.append(read_parquet(self.draft.work / "outcomes" / f"{unit.name}.parquet"))
                discoveries.append(read_parquet(self.draft.work / "discoveries" / f"{unit.name}.parquet"))
                done.update(outcomes[-1]["url"].to_pylist())
                pages += outcomes[-1]["state"].to_pylist().count(FETCHED)
            self.context.progress(pages, expected, "pages")
            visited |= {origin_of(url) for url in done}
            left = [target for target in left if target.url not in done]
            round_number += 1
        return pa.concat_tables(outcomes), pa.concat_tables(discoveries)

    def _do(self, units: list[Unit], policy: Policy, pages: int, expected: int) -> None:
        """One round, in this process or by workers; `pages` were there before it."""
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
        run_units(units, make, self.draft.work / "receipts", replace(context, progress=_say_nothing))

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
    """The progress of units says little; pages are reported instead."""


@dataclass
class _Worker:
    """Does units in one process. A unit is (targets, origins with sitemaps to read)."""

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
    """Warns of seeds that gave nothing; raises InputError if nothing at all was fetched, and forgets the attempt."""
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
        + (f", and {len(failed) - 1} more seeds gave none either" if len(failed) > 1 else ""),
        hint=_HINTS.get(first["state"], "check the `seeds`, `include`, `exclude` and `allowed_hosts` of `crawl`"),
    )


def _report_limits(frontier: Frontier, context: Context) -> None:
    """Warns of every limit that left URLs out, with their number."""
    from bessemer.crawl.limits import EXPLANATION, LINKS_PER_PAGE

    removed = frontier.counts().removed_by_rule
    for rule, explanation in EXPLANATION.items():
        count = removed.get(rule, 0)
        if rule == LINKS_PER_PAGE:
            count = max(count, frontier.num_links_left_out)
        if count:
            urls = "1 URL" if count == 1 else f"{format_count(count)} URLs"
            context.log.warning("%s left out by `%s`: %s", urls, rule, explanation)


def _reason(start: dict[str, str]) -> str:
    return f"`{start['state']}` ({start['evidence']})" if start["evidence"] else f"`{start['state']}`"


_HINTS = {
    "unknown_host": "check the spelling of the seed and the network of this machine",
    "connection_failed": "check that the site is up and the address and port are right",
    "timeout": "check that the site is up; `timeout_seconds` may be raised",
    "private_address": "set `allow_private_addresses: true` to crawl hosts of your own network",
    "robots": "the site's robots.txt does not allow it; ask its owner, or choose other seeds",
    "robots_unavailable": "without a readable robots.txt nothing may be fetched; try again later",
    "crawl_delay": "the site asks for long pauses; raise `max_delay_seconds` to crawl it nevertheless",
    "content_type": "add the type to `content_types`",
    "out_of_scope": "add the host to `allowed_hosts`",
    "excluded": "check `include` and `exclude`",
}

STAGE = Stage(
    kind="crawl",
    version=7,
    config=Config,
    optional=("site",),
    produces="pages",
    run=run,
    libraries=("ada-url", "charset-normalizer", "lxml", "protego", "webencodings"),
)
