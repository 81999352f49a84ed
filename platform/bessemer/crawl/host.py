"""Crawls one host politely: first its robots rules, then its URLs one after another.

The pause between two requests is the largest of `delay_seconds`, the site's own `Crawl-delay`, and the time that its
last answer took (a busy server is asked less often). Timeouts and the statuses 429, 503 and 504 double it until another
answer arrives. With `delay_seconds: 0`, meant for your own servers, only `Crawl-delay` and these failures cause a
pause.

A temporary failure is retried, after the time of `Retry-After` if the server sends one. Permanent failures are not
retried. A kind of failure is no longer retried on a host once it persisted through all retries on `MAX_RETRIED_IN_VAIN`
URLs in a row. After `MAX_FAILURES_IN_A_ROW` requests without an answer, the crawl leaves the host.

An answer of a server cannot end the crawl: a page, a sitemap or a robots.txt file at which our code raises has the
verdict `crashed`, and the rest continues. Errors of this machine (`OSError`, such as a full disk) end the crawl.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from bessemer import storage
from bessemer.artifacts.ledger import CRASHED
from bessemer.child_process import ChildEnded, OutOfTime
from bessemer.crawl import robots, sitemaps
from bessemer.crawl.fetch import Failure, Fetcher, Response
from bessemer.crawl.findings import NOFOLLOW, CrawlFindings, FetchOutcome, Target
from bessemer.crawl.limits import LINKS_PER_PAGE, MAXIMUM, ROBOTS_BYTES, SITEMAP_BYTES, TOO_SLOW
from bessemer.crawl.links import Links, find_links, robots_directives
from bessemer.crawl.parser import CPU_SECONDS, Parser
from bessemer.crawl.robots import Robots
from bessemer.crawl.scope import OUT_OF_SCOPE, Scope
from bessemer.crawl.sitemaps import Sitemap, Unread
from bessemer.crawl.urls import canonical_url, origin_of
from bessemer.errors import BessemerError
from bessemer.fingerprint import origin_id

MAX_REDIRECTS = 10
MAX_FAILURES_IN_A_ROW = 8
MAX_RETRIED_IN_VAIN = 3
HTML = ("text/html", "application/xhtml+xml")
_NO_ANSWER = ("timeout", "connection_failed")
_HOST_TROUBLE = ("private_address", "unknown_host", "connection_failed", "tls", "timeout")


@dataclass(frozen=True)
class Manners:
    """The settings of a crawl for the treatment of a host."""

    token: str
    """Our product token, as robots.txt files name us."""
    delay_seconds: float
    max_delay_seconds: float
    """A host that asks for a longer `Crawl-delay` is not crawled; no pause or `Retry-After` is longer."""
    max_connections_per_host: int
    max_retries: int
    retry_seconds: float = 1.0
    """The pause before the first retry if the server requests none; doubled for each further retry."""
    read_sitemaps: bool = True
    adopt_redirected_seeds: bool = False
    """Whether the host that a seed redirects to belongs to the crawl."""


Keep = Callable[[Target, Response], FetchOutcome]
"""Stores a page and returns its outcome."""


class HostCrawl:
    """Crawls some URLs of one host. `robots_folder` keeps robots.txt answers between units."""

    def __init__(
        self,
        fetcher: Fetcher,
        manners: Manners,
        scope: Scope,
        findings: CrawlFindings,
        keep: Keep,
        robots_folder: Path,
        parse: Parser,
    ) -> None:
        self._fetcher = fetcher
        self._manners = manners
        self._scope = scope
        self._findings = findings
        self._keep = keep
        self._robots_folder = robots_folder
        self._parse = parse
        self._base_delay = manners.delay_seconds
        self._delay = manners.delay_seconds
        self._free_at = 0.0
        self._failures = 0
        self._in_vain: dict[str, int] = {}  # URLs in a row whose retries all failed, for each verdict

    async def run(self, targets: Iterable[Target], new_origins: Collection[str], is_over: Callable[[], bool]) -> None:
        """Adds an outcome for each target to the findings, except for those not reached before `is_over()`.

        Reads the sitemaps of `new_origins` first. Visits at least one target, so that every call makes progress.
        """
        queue: deque[Target] = deque()
        by_origin: dict[str, list[Target]] = {}
        for target in targets:
            by_origin.setdefault(origin_of(target.url), []).append(target)
        for origin, its_targets in by_origin.items():
            try:
                rules = await self._robots(origin)
                allowed = await self._allowed(its_targets, rules)
            except (BessemerError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - the file's defect is in the ledger
                for target in its_targets:
                    self._findings.add(_failed(target, error, "robots.txt: "))
                continue
            if rules.num_bytes > MAXIMUM[ROBOTS_BYTES]:
                limit = float(MAXIMUM[ROBOTS_BYTES])
                self._leave_out(f"{origin}/robots.txt", "", ROBOTS_BYTES, rules.num_bytes, limit)
            if origin in new_origins and self._manners.read_sitemaps and rules.state != robots.UNAVAILABLE:
                await self._read_sitemaps(origin, rules)
            queue.extend(allowed)

        async def work() -> None:
            while queue:
                await self._visit(queue.popleft())
                if is_over():
                    break

        await asyncio.gather(*(work() for _ in range(self._manners.max_connections_per_host)))

    async def _allowed(self, targets: Sequence[Target], rules: Robots) -> list[Target]:
        """The targets that the rules allow; the others get their verdict."""
        delay, limit = rules.crawl_delay, self._manners.max_delay_seconds
        if rules.state == robots.UNAVAILABLE:
            trouble = rules.failure if rules.failure in _HOST_TROUBLE else "robots_unavailable"
            refused = FetchOutcome("", trouble, f"robots.txt: {rules.reason}")
        elif delay > limit:
            refused = FetchOutcome("", "crawl_delay", "robots.txt", delay, limit)
        else:
            refused = FetchOutcome("", "robots")
            self._base_delay = max(self._base_delay, delay)
            self._delay = max(self._delay, delay)
        allowed: list[Target] = []
        others: list[Target] = []
        for target in targets:
            is_allowed = refused.state == "robots" and rules.allows(target.url)
            (allowed if is_allowed else others).append(target)
            await asyncio.sleep(0)  # a file of 500 KiB takes about 10 ms per URL
        for target in others:
            self._findings.add(replace(refused, url=target.url))
        return allowed

    async def _robots(self, origin: str) -> Robots:
        path = self._robots_folder / f"{origin_id(origin)}.json"
        kept = storage.read_json(path)
        if kept is not None:
            rules = Robots(**kept)
            if rules.is_fresh and rules.token == self._manners.token:
                return rules

        async def get(url: str) -> Response | Failure:
            return await self._get(url, max_bytes=robots.MAX_FETCHED_BYTES, any_type=True)

        rules = await robots.fetch_robots(origin, self._manners.token, get)
        storage.write_json(path, rules.to_json())
        return rules

    async def _read_sitemaps(self, origin: str, rules: Robots) -> None:
        robots_url, default = f"{origin}/robots.txt", f"{origin}/sitemap.xml"
        named = [canonical_url(url, robots_url) for url in rules.sitemaps]
        roots = {url: robots_url for url in named if url} or ({default: ""} if rules.allows(default) else {})
        for found in await sitemaps.collect_urls(roots, self._read_sitemap):
            if not found.rule:
                self._discover(found.url, Target(found.via, 0, 0))
            elif found.via or found.rule in MAXIMUM:  # most sites have no sitemap at the default address
                self._leave_out(found.url, found.via, found.rule, found.value, found.threshold)

    async def _read_sitemap(self, url: str) -> Sitemap | Unread:
        try:
            return await self._fetch_sitemap(url)
        except (BessemerError, OSError):
            raise
        except OutOfTime:
            return Unread(TOO_SLOW, threshold=CPU_SECONDS)
        except Exception:  # noqa: BLE001 - the file's defect is in the ledger
            return Unread(CRASHED)

    async def _fetch_sitemap(self, url: str) -> Sitemap | Unread:
        for _ in range(robots.MAX_REDIRECTS + 1):
            if not self._scope.has_host(url):
                return Unread(OUT_OF_SCOPE)
            answer = await self._get(url, max_bytes=MAXIMUM[SITEMAP_BYTES], any_type=True)
            if isinstance(answer, Failure):
                rule = SITEMAP_BYTES if answer.verdict == "too_large" else answer.verdict
                return Unread(rule, answer.value, answer.threshold)
            if not answer.location:
                return await self._parse(sitemaps.parse_sitemap, answer.payload, url, answer.charset)
            url = canonical_url(answer.location, url) or ""
        return Unread("too_many_redirects", robots.MAX_REDIRECTS + 1.0, float(robots.MAX_REDIRECTS))

    def _leave_out(
        self, url: str, via: str, rule: str, value: float | None, threshold: float | None, depth: int = 0
    ) -> None:
        """A row of the ledger for a URL that a limit leaves out."""
        self._findings.discover(url, depth=depth + 1, hops=0, via=via, refusal=rule, value=value, threshold=threshold)

    async def _visit(self, target: Target) -> None:
        if self._failures >= MAX_FAILURES_IN_A_ROW:
            self._findings.add(FetchOutcome(target.url, "host_down", value=float(self._failures)))
            return
        try:
            outcome = await self._outcome(target, await self._get(target.url))
        except (BessemerError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - the page's defect is in the ledger
            outcome = _failed(target, error)
        self._findings.add(outcome)

    async def _outcome(self, target: Target, answer: Response | Failure) -> FetchOutcome:
        if isinstance(answer, Failure):
            return FetchOutcome(target.url, answer.verdict, answer.evidence or None, answer.value, answer.threshold)
        if answer.location:
            return self._redirected(target, answer.location)
        return await self._page(target, answer)

    async def _page(self, target: Target, page: Response) -> FetchOutcome:
        links = await self._links(target, page)
        for url in links.followed:
            self._discover(url, target)
        for url in links.not_followed:
            self._discover(url, target, otherwise=NOFOLLOW)
        most = MAXIMUM[LINKS_PER_PAGE]
        for url in links.left_out:
            rule = self._scope.refusal(url) or LINKS_PER_PAGE
            value, threshold = (
                (float(most + links.num_left_out), float(most)) if rule == LINKS_PER_PAGE else (None, None)
            )
            self._leave_out(url, target.url, rule, value, threshold, target.depth)
        if links.refresh:
            outcome = self._redirect(target, links.refresh)
        elif links.noindex:
            outcome = FetchOutcome(target.url, "noindex")
        else:
            outcome = self._keep(target, page)
        return replace(outcome, links_left_out=links.num_left_out or None)

    async def _links(self, target: Target, page: Response) -> Links:
        token = self._manners.token
        if page.content_type not in HTML:
            return Links([], [], noindex="noindex" in robots_directives(page.headers, token))
        return await self._parse(
            find_links, page.payload, target.url, charset=page.charset, token=token, headers=page.headers
        )

    def _redirected(self, target: Target, location: str) -> FetchOutcome:
        url = canonical_url(location, target.url)
        if url is None:
            return FetchOutcome(target.url, "bad_redirect", location[:200])
        if url == target.url:
            return FetchOutcome(target.url, "redirect_loop", url)
        return self._redirect(target, url)

    def _redirect(self, target: Target, url: str) -> FetchOutcome:
        if target.hops >= MAX_REDIRECTS:
            return FetchOutcome(target.url, "too_many_redirects", url, float(target.hops + 1), float(MAX_REDIRECTS))
        adopted = target.depth == 0 and self._manners.adopt_redirected_seeds
        refusal = self._scope.refusal(url, any_host=adopted)
        self._findings.discover(url, depth=target.depth, hops=target.hops + 1, via=target.url, refusal=refusal)
        return FetchOutcome(target.url, "redirect", url)

    def _discover(self, url: str, via: Target, *, otherwise: str = "") -> None:
        refusal = self._scope.refusal(url) or otherwise
        self._findings.discover(url, depth=via.depth + 1, hops=0, via=via.url, refusal=refusal)

    async def _get(self, url: str, *, max_bytes: int | None = None, any_type: bool = False) -> Response | Failure:
        """Makes one request when the host may be asked, and retries it while a retry may help."""
        tried: set[str] = set()
        for attempt in range(self._manners.max_retries + 1):
            await self._turn()
            began = time.monotonic()
            answer = await self._fetcher.get(url, max_bytes=max_bytes, any_type=any_type)
            self._adapt(answer, time.monotonic() - began)
            if isinstance(answer, Response) or not answer.is_passing:
                self._in_vain.update(dict.fromkeys(tried, 0))
                return answer
            if attempt == self._manners.max_retries:
                self._in_vain[answer.verdict] = self._in_vain.get(answer.verdict, 0) + 1
                return answer
            if answer.verdict not in _NO_ANSWER and self._in_vain.get(answer.verdict, 0) >= MAX_RETRIED_IN_VAIN:
                return answer
            tried.add(answer.verdict)
            pause = _seconds(answer.retry_after)
            if pause is None:
                pause = self._manners.retry_seconds * 2**attempt
            if pause > self._manners.max_delay_seconds:
                return answer
            self._free_at = max(self._free_at, time.monotonic() + pause)
        raise AssertionError("the last attempt returns")

    async def _turn(self) -> None:
        """Waits until the host may be asked again."""
        while (wait := self._free_at - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._free_at = time.monotonic() + self._delay

    def _adapt(self, answer: Response | Failure, seconds: float) -> None:
        limit = self._manners.max_delay_seconds
        if isinstance(answer, Failure) and answer.is_passing:
            self._failures += answer.verdict in _NO_ANSWER
            if answer.is_overload:
                self._delay = min(limit, max(2 * self._delay, self._manners.retry_seconds))
        else:
            self._failures = 0
            polite = max(self._base_delay, seconds) if self._base_delay else 0.0
            self._delay = min(limit, max(polite, self._delay / 2))
        self._free_at = max(self._free_at, time.monotonic() + self._delay)


def _failed(target: Target, error: Exception, evidence: str = "") -> FetchOutcome:
    """The outcome of a page at which our code, or the child that parses, failed."""
    if isinstance(error, OutOfTime):
        return FetchOutcome(target.url, TOO_SLOW, f"{evidence}{error}", threshold=CPU_SECONDS)
    evidence += str(error) if isinstance(error, ChildEnded) else f"{type(error).__name__}: {error}"
    return FetchOutcome(target.url, CRASHED, evidence[:500].encode("utf-8", "replace").decode())


def _seconds(retry_after: str) -> float | None:
    """`Retry-After` as seconds: a number or a date. None if it is neither."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
        return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
    except (ValueError, ArithmeticError):  # a date that does not exist, or beyond the years 1 to 9999
        return None
