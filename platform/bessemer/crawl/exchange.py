"""One HTTP/1.1 exchange over a connection: a GET request, and its response up to the limits of the caller.

Common clients (aiohttp, httpx, h11) refuse responses that every browser shows: two equal `Content-Length`s, a length
next to `chunked`, a wrong length, a space before a colon. They have no setting for this, so the crawler parses HTTP/1.1
itself; `artifacts.http_response` has the rules. The memory of a response is bounded by the limits on head and body.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bessemer.artifacts.http_response import Head, chunk_size, is_whole_page, parse_head, sniff_media_type, split_head
from bessemer.crawl.connect import Connection, Connections
from bessemer.crawl.urls import authority_of, host_of

MAX_HEAD_BYTES = 256 << 10
GRACE_SECONDS = 1.0
_MAX_CHUNK_LINE = 4096
_PIECE = 1 << 16
_PORTS = {"http": 80, "https": 443}


class MalformedResponse(Exception):
    """The server sends bytes that are not HTTP."""


class NoResponse(Exception):
    """The connection ends before the head of a response is complete."""


class BodyTooLarge(Exception):
    """The body is longer than the limit; the argument is the known length."""


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a body after the transfer coding; not `complete` if the connection or a chunk broke off."""

    content: bytes
    complete: bool


@asynccontextmanager
async def exchange(connections: Connections, url: str, headers: Mapping[str, str]) -> AsyncIterator[HttpExchange]:
    """Requests a canonical URL. Keeps the connection if the response is read to its end, else closes it.

    Raises OSError if no connection can be made, NoResponse or MalformedResponse. If the server has closed an idle
    connection, replaces it once.
    """
    scheme = url.partition("://")[0]
    authority, host = authority_of(url), host_of(url)
    port = int(authority.removeprefix(host).removeprefix(":") or _PORTS[scheme])
    target = url.partition("://")[2].removeprefix(authority)
    fields = {"Host": authority, **headers}
    request = f"GET {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    connection = await connections.open(host, port, tls=scheme == "https")
    try:
        try:
            answer = await _ask(connection, f"{request}\r\n".encode())
            is_stale = connection.is_reused and answer.head.status == 408  # sent before the request was
        except (NoResponse, MalformedResponse, OSError):
            if not connection.is_reused:
                raise
            is_stale = True  # closed meanwhile, or with bytes beyond the length of the response before
        if is_stale:
            connection.close()
            connection = await connections.open(host, port, tls=scheme == "https", fresh=True)
            answer = await _ask(connection, f"{request}\r\n".encode())
        yield answer
        answer.skip()
        if answer.may_be_followed:
            connections.keep(connection)
        else:
            connection.close()
    except BaseException:
        connection.close()
        raise


class HttpExchange:
    """A response of which the head has been read."""

    def __init__(self, head: Head, received: bytes, connection: Connection) -> None:
        self.head = head
        self._received = bytearray(received)
        self._connection = connection
        self._is_read = head.status in (204, 304)
        self._is_broken = False

    @property
    def may_be_followed(self) -> bool:
        """Whether the connection can be used for another request."""
        says = self.head.get("connection").lower()
        stays = "close" not in says and (self.head.version >= (1, 1) or "keep-alive" in says)
        return self._is_read and stays and not self._received

    async def read(self, limit: int) -> Body:
        """The body. Raises BodyTooLarge beyond `limit` bytes, MalformedResponse for lengths that disagree."""
        if self.head.is_chunked:
            return await self._chunks(limit)
        try:
            length = self.head.content_length()
        except ValueError as error:
            raise MalformedResponse(str(error)) from None
        if length is None:
            return await self._rest(limit)
        if length > limit:
            raise BodyTooLarge(length)
        while len(self._received) < length and await self._more(self._received):
            pass
        content = bytes(self._received[:length])
        if len(self._received) > length and not is_whole_page(content) and sniff_media_type(content) == "text/html":
            # More bytes arrived than announced, and the page is incomplete: the length counts characters, not bytes.
            return await self._rest(limit)
        del self._received[:length]
        self._is_read = len(content) == length
        return Body(content, complete=self._is_read)

    def skip(self) -> None:
        """Skips a short body that has arrived with the head, such as that of a redirect."""
        try:
            length = self.head.content_length()
        except ValueError:
            return
        if not self._is_read and length is not None and len(self._received) >= length:
            del self._received[:length]
            self._is_read = True

    async def _rest(self, limit: int) -> Body:
        """Everything until the server closes the connection."""
        while len(self._received) <= limit and await self._more(self._received):
            pass
        if len(self._received) > limit:
            raise BodyTooLarge(len(self._received))
        return Body(bytes(self._received), complete=not self._is_broken)

    async def _chunks(self, limit: int) -> Body:
        content = bytearray()
        while (line := await self._line(content)) is not None:
            size = chunk_size(line)
            if size is None:
                if not content:  # labelled as chunked, and not in chunks
                    self._received[:0] = line
                    content += (await self._rest(limit)).content
                return Body(bytes(content), complete=False)
            if size == 0:
                while (line := await self._line(content)) and line.strip():
                    pass  # trailers
                self._is_read = line is not None
                return Body(bytes(content), complete=True)
            if len(content) + size > limit:
                raise BodyTooLarge(len(content) + size)
            while len(self._received) < size and await self._more(self._received):
                pass
            content += self._received[:size]
            is_whole = len(self._received) >= size
            del self._received[:size]
            if not is_whole:
                break
            await self._line(content)  # the line end after a chunk
        return Body(bytes(content), complete=False)

    async def _line(self, content: bytearray) -> bytes | None:
        """The next line with its end; None if no line of a sensible length comes. `content` is the body so far."""
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > _MAX_CHUNK_LINE or not await self._more(content):
                return None
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line

    async def _more(self, content: bytearray) -> bool:
        """Receives the next piece; False at the end of the connection, also of one that breaks.

        If the page is complete but the length announces more, waits only `GRACE_SECONDS` for the rest.
        """
        try:
            if is_whole_page(content):
                async with asyncio.timeout(GRACE_SECONDS):
                    piece = await self._connection.reader.read(_PIECE)
            else:
                piece = await self._connection.reader.read(_PIECE)
        except OSError:  # of the connection, or of the grace
            self._is_broken = True
            return False
        self._received += piece
        return bool(piece)


async def _ask(connection: Connection, request: bytes) -> HttpExchange:
    connection.writer.write(request)
    await connection.writer.drain()
    received = bytearray()
    start = 0
    while True:
        while (parts := split_head(received, start)) is None:
            if len(received) > MAX_HEAD_BYTES:
                raise MalformedResponse(f"headers of more than {MAX_HEAD_BYTES} bytes")
            start = max(0, len(received) - 2)
            piece = await connection.reader.read(_PIECE)
            if not piece:
                if received:
                    _parse(bytes(received))  # bytes that are not HTTP, not a response that breaks off
                raise NoResponse("the server closed the connection")
            received += piece if received else piece.lstrip(b"\r\n")
        head = _parse(parts[0])
        if head.status >= 200:
            return HttpExchange(head, parts[1], connection)
        received, start = bytearray(parts[1]), 0  # an interim response, such as 100


def _parse(head: bytes) -> Head:
    try:
        return parse_head(head)
    except ValueError as error:
        raise MalformedResponse(str(error)) from None
