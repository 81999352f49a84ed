"""One request against servers that misbehave in every way: an answer within the limits, or a reason; never an error."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import socket
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.web import Answer, Web, page, redirect

from bessemer.crawl.connect import Connections
from bessemer.crawl.fetch import Failure, Fetcher, Response

LIMIT = 100_000
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


def endless() -> Iterator[bytes]:
    yield HEAD + b"\r\n"
    yield from itertools.repeat(b"x" * 65536)


def endless_chunks() -> Iterator[bytes]:
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    yield from itertools.repeat(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def endless_headers() -> Iterator[bytes]:
    yield HEAD
    yield from (f"X-{n}: {'x' * 8000}\r\n".encode() for n in itertools.count())


def encoded(body: bytes, encoding: str) -> Answer:
    return Answer(body, headers={"Content-Encoding": encoding})


HTML = page("x", text="ö" * 100).encode()
SITE = {
    "/page": page("x"),
    "/gzip": encoded(gzip.compress(HTML), "gzip"),
    "/deflate": encoded(zlib.compress(HTML), "deflate"),
    "/not-gzip": encoded(HTML, "gzip"),
    "/bomb": encoded(gzip.compress(bytes(50_000_000)), "gzip"),
    "/half-gzip": encoded(gzip.compress(HTML)[:60], "gzip"),
    "/unknown-encoding": encoded(HTML, "sdch"),
    "/chunked": Answer(raw=HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    "/large": Answer(b"x" * (LIMIT + 1)),
    "/limit": Answer(b"x" * LIMIT),
    "/endless": Answer(raw=endless),
    "/endless-chunks": Answer(raw=endless_chunks),
    "/endless-headers": Answer(raw=endless_headers),
    "/too-short": Answer(raw=HEAD + b"Content-Length: 1000\r\n\r\nhello"),
    "/too-long": Answer(raw=HEAD + b"Content-Length: 5\r\n\r\nhello, and more"),
    "/bad-chunk": Answer(raw=HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello"),
    "/silence": Answer(raw=b""),
    "/garbage": Answer(raw=b"\x00\x01\x02 garbage\r\n\r\n"),
    "/half-head": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-"),
    "/no-number": Answer(raw=b"HTTP/1.1 abc OK\r\n\r\n"),
    "/huge-status": Answer(raw=b"HTTP/1.1 200 " + b"x" * 400_000 + b"\r\n\r\n"),
    "/latin-1-header": Answer(raw=HEAD + "X-Name: Müller\r\n\r\nhello".encode("latin-1")),
    "/utf-8-header": Answer(raw=HEAD + "X-Name: Müller\r\n\r\nhello".encode()),
    "/no-type": Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n  <!DOCTYPE html><p>x"),
    "/no-type-binary": Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1a\n"),
    "/pdf": Answer(b"%PDF", content_type="application/pdf"),
    "/empty": Answer(b"", status=204),
    "/gone": Answer("gone", status=410),
    "/busy": Answer("busy", status=503, headers={"Retry-After": "7"}),
    "/not-modified": Answer(b"", status=304),
    "/moved": redirect("/page"),
    "/moved-utf-8": Answer(raw="HTTP/1.1 302 Found\r\nLocation: /straße\r\nContent-Length: 0\r\n\r\n".encode()),
    "/moved-nowhere": Answer(b"", status=301),
    "/slow": Answer("late", delay_seconds=3.0),
    "/brotli-label": encoded(HTML, "br"),
    "/charset-label": encoded(HTML, "windows-1251"),
    "/wrong-checksum": encoded(gzip.compress(HTML)[:-8] + b"wrong!!!", "gzip"),
    "/too-short-but-whole": Answer(raw=HEAD + b"Content-Length: 100000\r\n\r\n" + HTML),
    "/counts-characters": Answer(raw=HEAD + b"Connection: close\r\nContent-Length: 120\r\n\r\n" + HTML),
    "/two-lengths": Answer(raw=HEAD + (b"Content-Length: %d\r\n" % len(HTML)) * 2 + b"\r\n" + HTML),
    "/type-in-quotes": Answer(HTML, content_type='"text/html"'),
    "/type-without-slash": Answer(HTML, content_type="html"),
    "/type-unknown": Answer(HTML, content_type="unknown/unknown"),
    "/type-twice": Answer(HTML, content_type="text/html,text/html; charset=utf-8"),
    "/part-that-is-whole": Answer(HTML, status=206, headers={"Content-Range": f"bytes 0-{len(HTML) - 1}/{len(HTML)}"}),
    "/part": Answer(HTML, status=206, headers={"Content-Range": f"bytes 0-{len(HTML) - 1}/9999"}),
    "/moved-latin-1": Answer(raw=b"HTTP/1.1 302 Found\r\nLocation: /caf\xe9?a=%20&b=1\r\nContent-Length: 0\r\n\r\n"),
    "/?q=%41%5B": page("x"),
}


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with Web(SITE) as web:
        yield web


def get(
    web: Web,
    *urls: str,
    connect_to: dict[str, str] | None = None,
    allow_private: bool = False,
    any_type: bool = False,
    seconds: float = 20.0,
) -> list[Response | Failure]:
    destinations = web.connect_to if connect_to is None else connect_to

    async def main() -> list[Response | Failure]:
        async with Connections(destinations, allow_private=allow_private, limit=4) as connections:
            fetcher = Fetcher(
                connections,
                user_agent="Test/1 (+x@y.test)",
                max_bytes=LIMIT,
                max_connections=4,
                timeout_seconds=seconds,
                accepts=lambda kind: kind.startswith("text/"),
            )
            return [await fetcher.get(url, any_type=any_type) for url in urls]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("/page", page("x").encode()),
        ("/gzip", HTML),
        ("/deflate", HTML),
        ("/not-gzip", HTML),
        ("/unknown-encoding", HTML),
        ("/brotli-label", HTML),
        ("/charset-label", HTML),
        ("/wrong-checksum", HTML),
        ("/too-short-but-whole", HTML),
        ("/counts-characters", HTML),
        ("/two-lengths", HTML),
        ("/type-in-quotes", HTML),
        ("/type-without-slash", HTML),
        ("/type-unknown", HTML),
        ("/type-twice", HTML),
        ("/part-that-is-whole", HTML),
        ("/too-long", b"hello"),
        ("/chunked", b"hello"),
        ("/limit", b"x" * LIMIT),
        ("/latin-1-header", b"hello"),
        ("/utf-8-header", b"hello"),
        ("/no-type", b"  <!DOCTYPE html><p>x"),
        ("/?q=%41%5B", page("x").encode()),
    ],
)
def test_answers(web: Web, path: str, payload: bytes) -> None:
    (answer,) = get(web, f"http://docs.test{path}")
    assert isinstance(answer, Response), answer
    assert answer.payload == payload
    assert answer.content_type == "text/html"
    names = [value for name, value in answer.headers if name == "X-Name"]
    assert names == (["Müller"] if "header" in path else [])


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("/bomb", "broken_response"),
        ("/half-gzip", "incomplete_response"),
        ("/large", "too_large"),
        ("/endless", "too_large"),
        ("/endless-chunks", "too_large"),
        ("/endless-headers", "broken_response"),
        ("/too-short", "incomplete_response"),
        ("/bad-chunk", "incomplete_response"),
        ("/silence", "connection_failed"),
        ("/garbage", "broken_response"),
        ("/half-head", "connection_failed"),
        ("/no-number", "broken_response"),
        ("/huge-status", "broken_response"),
        ("/no-type-binary", "content_type"),
        ("/pdf", "content_type"),
        ("/empty", "http_204"),
        ("/part", "http_206"),
        ("/gone", "http_410"),
        ("/busy", "http_503"),
        ("/missing", "http_404"),
        ("/not-modified", "http_304"),
        ("/moved-nowhere", "bad_redirect"),
    ],
)
def test_failures(web: Web, path: str, verdict: str) -> None:
    failure, after = get(web, f"http://docs.test{path}", "http://docs.test/page")
    assert isinstance(failure, Failure)
    assert failure.verdict == verdict
    assert isinstance(after, Response), "the session goes on"


def test_measurements_and_what_may_pass(web: Web) -> None:
    large, busy, pdf = get(web, *(f"http://docs.test/{name}" for name in ("large", "busy", "pdf")))
    assert isinstance(large, Failure)
    assert (large.value, large.threshold, large.is_passing) == (LIMIT + 1, LIMIT, False)
    assert isinstance(busy, Failure)
    assert (busy.retry_after, busy.status, busy.is_passing) == ("7", 503, True)
    assert isinstance(pdf, Failure)
    assert (pdf.evidence, pdf.is_passing) == ("application/pdf", False)
    verdicts = ("timeout", "connection_failed", "incomplete_response", "broken_response", "tls", "http_500")
    passing = {verdict: Failure(verdict).is_passing for verdict in verdicts}
    assert passing == dict.fromkeys(verdicts[:3], True) | dict.fromkeys(verdicts[3:], False)
    assert busy.is_overload
    assert not Failure("incomplete_response", status=200).is_overload
    (read,) = get(web, "http://docs.test/pdf", any_type=True)
    assert isinstance(read, Response)


def test_redirects_are_handed_back(web: Web) -> None:
    answers = get(web, *(f"http://docs.test/moved{kind}" for kind in ("", "-utf-8", "-latin-1")))
    assert [answer.location for answer in answers if isinstance(answer, Response)] == [
        *("/page", "/stra%C3%9Fe", "/caf%E9?a=%20&b=1")
    ]
    assert web.requests[-1].path == "/moved-latin-1"


def test_a_slow_answer_ends_in_time(web: Web) -> None:
    (failure,) = get(web, "http://docs.test/slow", seconds=0.2)
    assert isinstance(failure, Failure)
    assert (failure.verdict, failure.is_passing) == ("timeout", True)


def test_we_say_who_we_are_and_keep_no_cookies(web: Web) -> None:
    web.site["/cookie"] = Answer("x", headers={"Set-Cookie": "session=1"})
    get(web, "http://docs.test/cookie", "http://docs.test/cookie")
    headers = web.requests[-1].headers
    assert headers["User-Agent"] == "Test/1 (+x@y.test)"
    assert headers["Host"] == "docs.test"
    assert "Cookie" not in headers


def test_private_addresses_are_refused_by_number_and_by_name(web: Web) -> None:
    before = len(web.requests)
    urls = [f"http://{host}:{web.port}/page" for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]")]
    answers = get(web, *urls, connect_to={})
    assert [answer.verdict for answer in answers if isinstance(answer, Failure)] == ["private_address"] * 4
    assert len(web.requests) == before
    (allowed,) = get(web, urls[0], connect_to={}, allow_private=True)
    assert isinstance(allowed, Response)


def test_the_address_itself_is_judged_whatever_a_name_server_says(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to a private address is refused, even if it resolves differently each time (DNS
    rebinding)."""

    def resolve(host: str, port: int, *args: object, **kwargs: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    answers = get(web, *[f"http://rebinding.example:{web.port}/page"] * 2, connect_to={})
    assert {answer.verdict for answer in answers if isinstance(answer, Failure)} == {"private_address"}


def test_the_peer_of_the_connection_is_judged_too(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may connect elsewhere than asked, as for `0.0.0.0`."""
    connect = asyncio.SelectorEventLoop.sock_connect

    def elsewhere(loop: Any, made: socket.socket, address: object) -> Any:
        return connect(loop, made, ("127.0.0.1", web.port))

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", elsewhere)
    before = len(web.requests)
    (refused,) = get(web, "http://8.8.8.8/page", connect_to={})
    assert isinstance(refused, Failure)
    assert (refused.verdict, refused.evidence) == ("private_address", "`127.0.0.1` is not a public address")
    assert len(web.requests) == before
    (allowed,) = get(web, "http://named.test/page", connect_to={"*.test": "http://0.0.0.0:80"})
    assert isinstance(allowed, Response)


def test_names_that_tls_cannot_hold_are_unknown_hosts(web: Web) -> None:
    urls = [f"https://{host}.test/page" for host in ("", "a.", "a" * 64)]
    answers = get(web, *urls, connect_to={"*.test": f"127.0.0.1:{web.port}"})
    assert [answer.verdict for answer in answers if isinstance(answer, Failure)] == ["unknown_host"] * 3


def test_a_destination_for_one_host_opens_no_door_for_others(web: Web) -> None:
    """Other hosts reach neither its address nor another port of this machine."""
    for port in (web.port, web.port + 1):
        (refused,) = get(web, f"http://127.0.0.1:{port}/page")
        assert isinstance(refused, Failure)
        assert refused.verdict == "private_address"


def test_hosts_that_are_not_there(web: Web) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{unused.getsockname()[1]}"
    answers = get(web, "http://nobody.invalid/", "http://closed.test/", connect_to={"closed.test": closed})
    assert [answer.verdict for answer in answers if isinstance(answer, Failure)] == [
        "unknown_host",
        "connection_failed",
    ]


def test_tls_without_a_certificate_fails_and_a_local_copy_can_do_without(web: Web) -> None:
    with_tls = {"docs.test": f"127.0.0.1:{web.port}"}
    (failure,) = get(web, "https://docs.test/page", connect_to=with_tls)
    assert isinstance(failure, Failure)
    assert failure.verdict == "tls"
    (answer,) = get(web, "https://docs.test/page")
    assert isinstance(answer, Response)
