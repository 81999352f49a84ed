"""One request: a response within its limits, or the reason why there is none.

Nothing a server does raises here. It may answer never, slowly, without end, with a compressed body that grows a
thousandfold, with a wrong length, or with bytes that are not HTTP; each ends in a `Failure` that names the verdict.
Memory is bounded by `max_bytes` for the body as sent and again as decoded. Redirects are returned, never followed:
where they lead is the caller's decision, and is checked like any other URL.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from bessemer.artifacts.pages import decode_content, split_content_type
from bessemer.crawl.connect import PrivateAddress

_REDIRECTS = (301, 302, 303, 307, 308)
_LOOKS_LIKE_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with status 2xx, or a redirect (`location` is not empty, `payload` is)."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    content_type: str
    charset: str | None
    payload: bytes
    location: str
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no page. `value` and `threshold` are the measurement and the limit, where there are such."""

    verdict: str
    evidence: str = ""
    status: int | None = None
    value: float | None = None
    threshold: float | None = None
    retry_after: str = ""

    @property
    def is_passing(self) -> bool:
        """Whether trying again soon may help."""
        return self.verdict in ("timeout", "connection_failed", "broken_response") or self.status in (
            429,
            502,
            503,
            504,
        )


class Fetcher:
    """Makes requests over one session, at most `max_connections` at a time; the time limit of a request begins when
    its turn comes. `accepts` judges media types before the body is read."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        max_bytes: int,
        max_connections: int,
        accepts: Callable[[str], bool],
        without_tls: Callable[[str], bool] = lambda host: False,
    ) -> None:
        self._session = session
        self._turns = asyncio.Semaphore(max_connections)
        self._max_bytes = max_bytes
        self._accepts = accepts
        self._without_tls = without_tls

    async def get(self, url: str, *, max_bytes: int | None = None, any_type: bool = False) -> Response | Failure:
        """One GET request for a canonical URL. `any_type` is for robots.txt and sitemaps."""
        limit = max_bytes or self._max_bytes
        try:
            address = URL(url, encoded=True)
            if address.scheme == "https" and self._without_tls(address.raw_host or ""):
                address = address.with_scheme("http")
            async with self._turns, self._session.get(address, allow_redirects=False) as answer:
                return await self._read(answer, limit, any_type=any_type)
        except TimeoutError:
            return Failure("timeout", "no answer in time")
        except aiohttp.ClientConnectorError as error:
            return _connection_failure(error)
        except aiohttp.ServerDisconnectedError:
            return Failure("connection_failed", "the server closed the connection")
        except aiohttp.ClientOSError as error:
            return Failure("connection_failed", _say(error))
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError) as error:
            return Failure("broken_response", _say(error))
        except (aiohttp.InvalidURL, ValueError, UnicodeError) as error:
            return Failure("bad_url", _say(error))

    async def _read(self, answer: aiohttp.ClientResponse, limit: int, *, any_type: bool) -> Response | Failure:
        status = answer.status
        headers = [(name.decode("latin-1"), _text(value)) for name, value in answer.raw_headers]
        content_type, charset = split_content_type(answer.headers.get("Content-Type", ""))
        fetched_at = datetime.now(UTC)
        if status in _REDIRECTS:
            location = _text(answer.headers.get("Location", "").encode("utf-8", "surrogateescape"))
            if not location:
                return Failure("bad_redirect", f"HTTP status {status} without a location", status)
            return Response(status, answer.reason or "", headers, "", None, b"", location, fetched_at)
        if not 200 <= status < 300 or status in (204, 205, 206):
            retry_after = answer.headers.get("Retry-After", "")
            return Failure(f"http_{status}", answer.reason or "", status, float(status), retry_after=retry_after)
        if content_type and not any_type and not self._accepts(content_type):
            return Failure("content_type", content_type[:100], status)
        if (answer.content_length or 0) > limit:
            return Failure("too_large", "", status, float(answer.content_length or 0), float(limit))
        body = bytearray()
        async for piece in answer.content.iter_chunked(1 << 16):
            body += piece
            if len(body) > limit:
                return Failure("too_large", "", status, float(len(body)), float(limit))
        try:
            payload = decode_content(bytes(body), answer.headers.get("Content-Encoding", ""), limit)
        except ValueError as error:
            return Failure("broken_response", str(error), status)
        if not content_type and not any_type:
            if not payload[:512].lstrip().lower().startswith(_LOOKS_LIKE_HTML) or not self._accepts("text/html"):
                return Failure("content_type", "none given", status)
            content_type = "text/html"
        return Response(status, answer.reason or "", headers, content_type, charset, payload, "", fetched_at)


def _connection_failure(error: aiohttp.ClientConnectorError) -> Failure:
    cause = error.os_error
    if isinstance(cause, PrivateAddress):
        return Failure("private_address", str(cause))
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(cause, socket.gaierror):
        return Failure("unknown_host", _say(cause))
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(cause, ssl.SSLError):
        return Failure("tls", _say(cause))
    return Failure("connection_failed", _say(cause))


def _say(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def session(connector: aiohttp.TCPConnector, *, user_agent: str, timeout_seconds: float) -> aiohttp.ClientSession:
    """A session that keeps no cookies, decodes nothing by itself, and reads no proxy from the environment."""
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": user_agent,
            "Accept": "text/html,application/xhtml+xml,text/plain;q=0.8,*/*;q=0.5",
            "Accept-Encoding": "gzip, deflate",
        },
        timeout=aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(10.0, timeout_seconds)),
        max_line_size=1 << 16,
        max_field_size=1 << 16,
    )
