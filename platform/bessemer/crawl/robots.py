"""The rules of a site for crawlers: robots.txt (RFC 9309), which forbids everything if it cannot be fetched.

Protego matches the rules (longest match wins, `Allow` wins a tie, `*` and `$`). This module decides what the file is:
fetched with up to five redirects across hosts, read up to 500 KiB, kept for at most 24 hours. A file that is missing
(4xx) or has no content (204) allows everything. One that cannot be fetched (5xx, 429, timeout, network error, endless
redirects, endless length) forbids everything, although many crawlers then continue as if the file were missing.

This module also selects the group for our product token, by equality as the RFC requires. Protego alone would also
accept a group for a prefix of the token, and would end a group at an unknown line.
"""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from protego import Protego

from bessemer.crawl.fetch import Failure, Response
from bessemer.crawl.limits import MAXIMUM, ROBOTS_BYTES
from bessemer.crawl.urls import canonical_url

MAX_FETCHED_BYTES = 8 << 20
MAX_REDIRECTS = 5
MAX_AGE_SECONDS = 24 * 3600

RULES, MISSING, UNAVAILABLE = "rules", "missing", "unavailable"

_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_USER_AGENT = re.compile(r"user[- ]?agent\s*[:\s]\s*(.*)", re.IGNORECASE)
_DIRECTIVE = re.compile(r"(?:dis+al+ow|diasllow|disallaw|allow|crawl[- ]delay|site-?maps?)\s*[:\s]", re.IGNORECASE)
_TOKEN = re.compile(r"\*|[A-Za-z_-]+")


@dataclass(frozen=True)
class Robots:
    """The rules of one origin for one product token. `reason` says why there are none."""

    state: str
    token: str
    text: str = ""
    reason: str = ""
    failure: str = ""
    """The verdict of the failed fetch (`private_address`, `timeout`, ...) if the file is unavailable."""
    num_bytes: int = 0
    """The size of the file; rules beyond the limit of `robots_bytes` are not read."""
    fetched_at: float = field(default_factory=time.time)

    def allows(self, url: str) -> bool:
        if self.state == RULES:
            return bool(self._rules.can_fetch(url, self.token))
        return self.state == MISSING

    @property
    def crawl_delay(self) -> float:
        """Seconds between two requests, as requested by the site."""
        return float(self._rules.crawl_delay(self.token) or 0.0) if self.state == RULES else 0.0

    @property
    def sitemaps(self) -> list[str]:
        return list(self._rules.sitemaps) if self.state == RULES else []

    @property
    def is_fresh(self) -> bool:
        return 0 <= time.time() - self.fetched_at < MAX_AGE_SECONDS

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @cached_property
    def _rules(self) -> Protego:
        return Protego.parse(self.text)


def parse_robots(content: bytes, token: str) -> Robots:
    """The rules in a robots.txt file that concern `token`."""
    most = MAXIMUM[ROBOTS_BYTES]
    text = _decode(content[:most], cut=len(content) > most)
    return Robots(RULES, token, _relevant(text, token), num_bytes=len(content))


async def fetch_robots(origin: str, token: str, get: Callable[[str], Awaitable[Response | Failure]]) -> Robots:
    """The rules of an origin such as `https://example.com`; never raises, also if the network fails."""
    url = f"{origin}/robots.txt"
    for _ in range(MAX_REDIRECTS + 1):
        answer = await get(url)
        if isinstance(answer, Failure):
            if answer.status in (204, 205):
                return Robots(MISSING, token, reason=f"HTTP status {answer.status}, a file without content")
            if answer.status is not None and 400 <= answer.status < 500 and answer.status != 429:
                return Robots(MISSING, token, reason=f"HTTP status {answer.status}")
            return Robots(UNAVAILABLE, token, reason=answer.evidence, failure=answer.verdict)
        if not answer.location:
            return parse_robots(answer.payload, token)
        target = canonical_url(answer.location, url)
        if target is None:
            return Robots(UNAVAILABLE, token, reason="a redirect to nowhere", failure="bad_redirect")
        url = target
    return Robots(UNAVAILABLE, token, reason=f"more than {MAX_REDIRECTS} redirects", failure="too_many_redirects")


def _decode(content: bytes, *, cut: bool) -> str:
    if cut:
        content = content[: content.rfind(b"\n") + 1]  # half a rule is not a rule
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "ignore")
    return content.decode("utf-8", "ignore")


def _relevant(text: str, token: str) -> str:
    """The meaningful lines; the groups of other crawlers remain, under an unused name."""
    lines = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if agent := _USER_AGENT.match(line):
            named = _TOKEN.match(agent[1])
            name = named[0] if named and named[0].lower() in ("*", token.lower()) else "+"
            lines.append(f"User-agent: {name}")
        elif _DIRECTIVE.match(line):
            lines.append(line)
    return "\n".join(lines)
