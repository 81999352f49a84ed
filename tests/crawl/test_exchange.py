"""exchange: HTTP/1.1 as servers really write it, on connections that are kept, closed, and closed too early."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bessemer.crawl.connect import Connections
from bessemer.crawl.exchange import Body, BodyTooLarge, MalformedResponse, NoResponse, exchange

OK = b"HTTP/1.1 200 OK\r\n"
CLOSE = OK + b"Connection: close\r\n"
Serve = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def ask(serve: Serve, *paths: str, limit: int = 1000) -> tuple[list[Body], int]:
    """(bodies, number of connections) of GET requests to a server; its handler gets the connection's number."""

    async def main() -> tuple[list[Body], int]:
        count = 0

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            try:
                await serve(count, reader, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        bodies = []
        async with server, Connections({"a.test": place}, allow_private=False, limit=4) as connections:
            for path in paths or ("/",):
                async with asyncio.timeout(20), exchange(connections, f"http://a.test{path}", {}) as answer:
                    bodies.append(await answer.read(limit))
        return bodies, count

    return asyncio.run(main())


def once(response: bytes) -> Serve:
    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()

    return serve


def each(*responses: bytes) -> Serve:
    """One response per request; connections after the first give the last one."""

    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for response in responses if number == 1 else responses[-1:]:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response)
            await writer.drain()

    return serve


PAGE = "<p>Zählung</p></html>".encode()


@pytest.mark.parametrize(
    ("response", "content", "complete"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
        (OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
        (CLOSE + b"\r\nhello", b"hello", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", True),
        (OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\nhello\n2\n!!\n0\nX-Trailer: z\n\n", b"hello!!", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", b"hello", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello", b"hello", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n<p>no chunks\nat all", b"<p>no chunks\nat all", False),
        (OK + b"Content-Length: 9\r\n\r\nhello", b"hello", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + CLOSE + b"\r\nx", b"x", True),
        (b"\r\n\r\nHTTP/1.1  200 OK\nContent-Length : 2\n\nhi", b"hi", True),
        (b"http/1.0 200\r\n\r\nhello", b"hello", True),
        (CLOSE + b"Content-Length: %d\r\n\r\n" % (len(PAGE) - 1) + PAGE, PAGE, True),  # the length counts characters
        (OK + b"Content-Length: %d\r\n\r\n" % (len(PAGE) - 1) + PAGE, PAGE, True),
        (CLOSE + b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE + b"junk", PAGE, True),
        (OK + b"Content-Length: 2\r\n\r\nhi, junk", b"hi", True),
    ],
)
def test_bodies(response: bytes, content: bytes, complete: bool) -> None:
    (body,), _ = ask(once(response))
    assert body == Body(content, complete)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (b"", NoResponse),
        (b"HTTP/1.1 200 OK\r\nContent-", NoResponse),
        (b"\x00\x01 garbage\r\n\r\n", MalformedResponse),
        (b"<p>a page without a head</p>", MalformedResponse),
        (OK + b"X: " + b"x" * 400_000 + b"\r\n\r\n", MalformedResponse),
        (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", MalformedResponse),
        (OK + b"Content-Length: 1001\r\n\r\n", BodyTooLarge),
        (CLOSE + b"\r\n" + b"x" * 1001, BodyTooLarge),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n", BodyTooLarge),
    ],
)
def test_failures(response: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        ask(once(response))


def test_a_connection_takes_one_request_after_the_other() -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n"
    bodies, connections = ask(each(OK + b"Content-Length: 1\r\n\r\na", chunked, chunked), "/1", "/2", "/3")
    assert [body.content for body in bodies] == [b"a", b"b", b"b"]
    assert connections == 1


@pytest.mark.parametrize(
    "first",
    [
        CLOSE + b"Content-Length: 1\r\n\r\na",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        OK + b"Content-Length: 1\r\n\r\na, and junk",
        OK + b"Content-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz\r\n",
    ],
)
def test_a_connection_in_doubt_is_not_used_again(first: bytes) -> None:
    """Bytes after a response would be taken for the next one."""
    bodies, connections = ask(each(first, OK + b"Content-Length: 1\r\n\r\nb"), "/1", "/2")
    assert [body.content for body in bodies] == [b"a", b"b"]
    assert connections == 2


@pytest.mark.parametrize("farewell", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
def test_a_kept_connection_that_the_server_closes_is_replaced(farewell: bytes) -> None:
    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 1\r\n\r\n%d" % number)
        await reader.read(1)  # the second request comes, and is not answered
        writer.write(farewell)
        await writer.drain()

    bodies, connections = ask(serve, "/1", "/2")
    assert [body.content for body in bodies] == [b"1", b"2"]
    assert connections == 2


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 100\r\n\r\n",
        b"\r\n",
        b"Content-Length: %d\r\n\r\n" % (len(PAGE) - 1),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(PAGE),
    ],
)
def test_a_whole_page_is_not_waited_for_on_a_connection_that_stays_open(headers: bytes) -> None:
    """The time limit of a request is 20 seconds here; the connection stays open for longer."""

    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + headers + PAGE)
        await reader.read()

    (body,), _ = ask(serve)
    assert body.content == PAGE


def test_bytes_that_come_after_a_response_do_not_spoil_the_next_one() -> None:
    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 2\r\n\r\nhi")
        await writer.drain()
        if number == 1:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"late bytes\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi")
            await writer.drain()

    bodies, connections = ask(serve, "/1", "/2")
    assert [body.content for body in bodies] == [b"hi", b"hi"]
    assert connections == 2


@pytest.mark.parametrize(
    ("headers", "number"),
    [
        (b"Content-Length: 0\r\n\r\n", 1),
        (b"Content-Length: 5\r\n\r\nmoved", 1),
        (b"Content-Length: 5\r\n\r\nmoved, and junk", 2),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nmoved", 2),
    ],
)
def test_a_connection_is_kept_after_a_short_body_that_is_not_wanted(headers: bytes, number: int) -> None:
    async def main() -> int:
        count = 0

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            while await reader.readline():
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 301 Moved\r\nLocation: /x\r\n" + headers)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Connections({"a.test": place}, allow_private=False, limit=4) as connections:
            for _ in range(2):
                async with asyncio.timeout(20), exchange(connections, "http://a.test/", {}) as answer:
                    assert answer.head.status == 301
        server.close()
        return count

    assert asyncio.run(main()) == number
