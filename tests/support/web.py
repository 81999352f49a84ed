"""Serves several hosts on one loopback port, for tests of the crawler. Answers may violate HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. With `raw`, sends these bytes instead (an iterator piece by piece) and closes the connection."""

    body: bytes | str = b""
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | Callable[[], Iterable[bytes]] | None = None
    delay_seconds: float = 0.0


Site = Mapping[str, Answer | str | Callable[[], Answer]]
"""Answers by `host/path`, or by `/path` for every host. A text is an HTML page."""


@dataclass(frozen=True)
class Request:
    at: float
    host: str
    path: str
    headers: Mapping[str, str]


def page(*links: str, head: str = "", text: str = "Some words.") -> str:
    anchors = " ".join(f'<a href="{link}">{link}</a>' for link in links)
    return f"<!doctype html><html><head><title>t</title>{head}</head><body><p>{text}</p>{anchors}</body></html>"


def redirect(location: str, status: int = 301) -> Answer:
    return Answer(status=status, headers={"Location": location})


class Web:
    """Serves a site while the `with` block runs. `requests` has the received requests in order."""

    def __init__(self, site: Site) -> None:
        self.site = dict(site)
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def connect_to(self) -> dict[str, str]:
        """A mapping that sends every `.test` host to this server, with and without TLS."""
        return {"*.test": f"http://127.0.0.1:{self.port}"}

    def paths(self, host: str = "") -> list[str]:
        """The requested paths, without robots.txt and sitemap.xml, which a crawl always requests."""
        return [
            request.path
            for request in self.requests
            if request.path not in ("/robots.txt", "/sitemap.xml") and host in ("", request.host)
        ]

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, host: str, path: str) -> Answer:
        found = self.site.get(f"{host}{path}", self.site.get(path, Answer("nothing here", 404)))
        found = found() if callable(found) else found
        return Answer(found) if isinstance(found, str) else found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = 20
    web: Web

    def do_GET(self) -> None:
        host = (self.headers["Host"] or "").partition(":")[0]
        self.web.requests.append(Request(time.monotonic(), host, self.path, dict(self.headers)))
        answer = self.web.answer(host, self.path)
        time.sleep(answer.delay_seconds)
        if answer.raw is not None:
            self.close_connection = True
            for piece in _pieces(answer.raw):
                self.wfile.write(piece)
                self.wfile.flush()
            return
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        self.send_response(answer.status)
        headers = {"Content-Type": answer.content_type, "Content-Length": str(len(body))} | answer.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _pieces(raw: bytes | Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
    yield from [raw] if isinstance(raw, bytes) else raw()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores errors, because the tests make clients close connections early."""
