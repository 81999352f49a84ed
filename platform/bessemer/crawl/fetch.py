"""One request: a response within its limits, or the reason for its absence.

No behaviour of a server raises an exception here. A server may never answer, answer slowly or endlessly, send a
compressed body that grows a thousandfold, or send bytes that are not HTTP. Each case gives a `Failure` with the
verdict. A response that violates the HTTP standard is read as browsers read it (`exchange`). `max_bytes` bounds the
memory of the body as sent, and of the decoded body. Redirects are returned, not followed. The caller checks their
targets like any other URL.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from bessemer.artifacts.http_response import Head, IncompleteBody, read_payload, split_content_type
from bessemer.crawl.connect import Connections, PrivateAddress, UnknownHost
from bessemer.crawl.exchange import BodyTooLarge, HttpExchange, MalformedResponse, NoResponse, exchange

_REDIRECTS = (301, 302, 303, 307, 308)
_WITHOUT_PAGE = (204, 205)
_DECODED_HERE_BYTES = 64 << 10
_WHOLE_RANGE = re.compile(r"\s*bytes\s+0-(\d{1,18})/(\d{1,18})\s*", re.IGNORECASE)
_ACCEPT = {
    "Accept": "text/html,application/xhtml+xml,text/plain;q=0.8,*/*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
}
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]~ "


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
    """The reason for a missing page. `value` and `threshold` are the measurement and the limit that decided, if any."""

    verdict: str
    evidence: str = ""
    status: int | None = None
    value: float | None = None
    threshold: float | None = None
    retry_after: str = ""

    @property
    def is_passing(self) -> bool:
        """Whether a retry may help. It does not help for bytes that are not HTTP or cannot be decoded."""
        return self.verdict in ("timeout", "connection_failed", "incomplete_response") or self.status in (
            429,
            502,
            503,
            504,
        )

    @property
    def is_overload(self) -> bool:
        """Whether the server is overloaded and should get fewer requests."""
        return self.verdict == "timeout" or self.status in (429, 503, 504)


class Fetcher:
    """Makes requests, at most `max_connections` at a time. The time limit of a request starts when it gets a
    connection.

    Keeps no cookies, and reads no proxy from the environment. `accepts` decides about media types.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        user_agent: str,
        max_bytes: int,
        max_connections: int,
        timeout_seconds: float,
        accepts: Callable[[str], bool],
    ) -> None:
        self._connections = connections
        self._headers = {"User-Agent": user_agent, **_ACCEPT}
        self._turns = asyncio.Semaphore(max_connections)
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._accepts = accepts

    async def get(self, url: str, *, max_bytes: int | None = None, any_type: bool = False) -> Response | Failure:
        """One GET request for a canonical URL. `any_type` is for robots.txt and sitemaps."""
        limit = max_bytes or self._max_bytes
        try:
            async with (
                self._turns,
                asyncio.timeout(self._timeout_seconds),
                exchange(self._connections, url, self._headers) as answer,
            ):
                return await self._read(answer, limit, any_type=any_type)
        except TimeoutError:
            return Failure("timeout", "no answer in time")
        except PrivateAddress as error:
            return Failure("private_address", str(error))
        except UnknownHost as error:
            return Failure("unknown_host", _say(error))
        except ssl.SSLError as error:
            return Failure("tls", _say(error))
        except (NoResponse, OSError) as error:
            return Failure("connection_failed", _say(error))
        except MalformedResponse as error:
            return Failure("broken_response", _say(error))

    async def _read(self, answer: HttpExchange, limit: int, *, any_type: bool) -> Response | Failure:
        head = answer.head
        status, reason, headers = head.status, head.reason, head.texts()
        fetched_at = datetime.now(UTC)
        if status in _REDIRECTS:
            values = [value for name, value in head.fields if name.lower() == "location" and value]
            if not values:
                return Failure("bad_redirect", f"HTTP status {status} without a location", status)
            # Bytes beyond ASCII are escaped unchanged, in the charset of the server.
            location = quote(values[0], safe=_URL_CHARACTERS)
            return Response(status, reason, headers, "", None, b"", location, fetched_at)
        if not 200 <= status < 300 or status in _WITHOUT_PAGE or (status == 206 and _is_part(head)):
            return Failure(f"http_{status}", reason, status, float(status), retry_after=head.get("retry-after"))
        said = head.get("content-type")
        media_type, _ = split_content_type(said)
        if media_type and not media_type.endswith("/unknown") and not any_type and not self._accepts(media_type):
            return Failure("content_type", media_type[:100], status)
        try:
            body = await answer.read(limit)
            arguments = body.content, head.get("content-encoding"), said, limit
            if len(body.content) <= _DECODED_HERE_BYTES:
                payload = read_payload(*arguments, complete=body.complete)
            else:
                payload = await asyncio.to_thread(read_payload, *arguments, complete=body.complete)
        except BodyTooLarge as error:
            return Failure("too_large", "", status, float(error.args[0]), float(limit))
        except IncompleteBody as error:
            return Failure("incomplete_response", str(error), status)
        except ValueError as error:
            return Failure("broken_response", str(error), status)
        if not any_type and not self._accepts(payload.media_type):
            return Failure("content_type", payload.media_type or said[:100] or "none given", status)
        return Response(status, reason, headers, payload.media_type, payload.charset, payload.content, "", fetched_at)


def _is_part(head: Head) -> bool:
    """Whether a 206 response has less than the whole page."""
    said = head.get("content-range")
    whole = _WHOLE_RANGE.fullmatch(said)
    return bool(said) and (whole is None or int(whole[1]) + 1 != int(whole[2]))


def _say(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
