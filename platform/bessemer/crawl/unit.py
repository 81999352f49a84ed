"""A unit of crawling: some URLs of some hosts, fetched concurrently in one event loop into one WARC file.

Hosts are independent of each other and share at most `max_connections` connections. The unit ends when its URLs are
done, when `seconds` are over (after the requests in progress), or immediately after a stop request. URLs without an
outcome are left for another unit. Pages are written when they arrive, so memory holds only the requests in progress.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bessemer import __version__, storage
from bessemer.artifacts.pages import PageWriter, payload_digest
from bessemer.crawl.connect import Connections
from bessemer.crawl.fetch import Fetcher, Response
from bessemer.crawl.findings import FETCHED, CrawlFindings, FetchOutcome, Target
from bessemer.crawl.host import HostCrawl, Manners
from bessemer.crawl.parser import Parser
from bessemer.crawl.scope import Scope
from bessemer.crawl.urls import authority_of

STOP_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Policy:
    """The settings of a crawl that a unit needs; picklable."""

    manners: Manners
    user_agent: str
    hosts: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    content_types: tuple[str, ...]
    max_page_bytes: int
    timeout_seconds: float
    max_connections: int
    allow_private_addresses: bool
    connect_to: dict[str, str] = field(default_factory=dict)

    def scope(self) -> Scope:
        return Scope(self.hosts, self.include, self.exclude, self.content_types)


def crawl_unit(
    targets: Collection[Target],
    new_origins: Collection[str],
    policy: Policy,
    warc: Path,
    robots_folder: Path,
    *,
    seconds: float,
    should_stop: Callable[[], bool] = lambda: False,
    report: Callable[[], None] = lambda: None,
    careful: bool = False,
) -> CrawlFindings:
    """Crawls `targets` and writes the pages to `warc` (no file without pages). Calls `report` after each page.

    If `careful`, a child process parses all pages, including small ones.
    """
    findings = CrawlFindings()
    warc.unlink(missing_ok=True)  # of an attempt that died before its receipt
    with (
        storage.atomic_path(warc) as temporary,
        PageWriter(temporary, software=f"Bessemer/{__version__}", user_agent=policy.user_agent) as writer,
        Parser(careful=careful) as parse,
    ):

        def keep(target: Target, page: Response) -> FetchOutcome:
            place = writer.write(target.url, page.status, page.reason, page.headers, page.payload, page.fetched_at)
            report()
            return _fetched(target, page, warc.name, *place)

        def crawler(fetcher: Fetcher, scope: Scope) -> HostCrawl:
            return HostCrawl(fetcher, policy.manners, scope, findings, keep, robots_folder, parse)

        asyncio.run(_crawl(targets, frozenset(new_origins), policy, crawler, seconds, should_stop))
    if not any(outcome.state == FETCHED for outcome in findings.outcomes):
        warc.unlink()
    return findings


def _fetched(target: Target, page: Response, file: str, offset: int, length: int) -> FetchOutcome:
    return FetchOutcome(
        target.url,
        FETCHED,
        status=page.status,
        content_type=page.content_type,
        digest=payload_digest(page.payload),
        num_bytes=len(page.payload),
        fetched_at=page.fetched_at,
        file=file,
        offset=offset,
        length=length,
    )


async def _crawl(
    targets: Iterable[Target],
    new_origins: Collection[str],
    policy: Policy,
    crawler: Callable[[Fetcher, Scope], HostCrawl],
    seconds: float,
    should_stop: Callable[[], bool],
) -> None:
    deadline = time.monotonic() + seconds
    scope = policy.scope()
    by_host: dict[str, list[Target]] = {}
    for target in targets:
        by_host.setdefault(authority_of(target.url), []).append(target)
    async with Connections(
        policy.connect_to, allow_private=policy.allow_private_addresses, limit=policy.max_connections
    ) as connections:
        fetcher = Fetcher(
            connections,
            user_agent=policy.user_agent,
            max_bytes=policy.max_page_bytes,
            max_connections=policy.max_connections,
            timeout_seconds=policy.timeout_seconds,
            accepts=scope.accepts,
        )
        hosts = asyncio.gather(
            *(
                crawler(fetcher, scope).run(its_targets, new_origins, lambda: time.monotonic() >= deadline)
                for its_targets in by_host.values()
            )
        )
        watch = asyncio.create_task(_cancel_when(should_stop, hosts))
        try:
            await hosts
        except asyncio.CancelledError:
            if not should_stop():
                raise
        finally:
            watch.cancel()


async def _cancel_when(should_stop: Callable[[], bool], work: asyncio.Future[list[None]]) -> None:
    while not should_stop():
        await asyncio.sleep(STOP_POLL_SECONDS)
    work.cancel()
