"""Serves rendered sites on the loopback interface, all hosts on one port, in a child process that ends with its parent.

    with serve(artifact.data) as port: ...            # http://127.0.0.1:<port>/ with the header `Host: library.test`

The child (`python -m bessemer.docsite.server FOLDER`) prints its port and serves until its standard input ends. The
operating system closes this pipe however the parent ends. The child reads all files once and keeps them in memory
(15 MB for the default sites), so a response is one lookup and one write: about 3 000 pages per second on one core.
"""

from __future__ import annotations

import contextlib
import mimetypes
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bessemer import storage
from bessemer.errors import InputError
from bessemer.fingerprint import content_hash

_NOT_FOUND = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Not found</title></head>
<body><h1>Not found</h1><p>There is no page at this address. <a href="/">Home</a></p></body></html>
"""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[int]:
    """Yields the port of a server for the sites in `folder`. The server stops with the block or with this process.

    Raises InputError if `folder` has no sites.
    """
    if not (folder / "site.json").is_file():
        raise InputError(
            f"`{folder}` has no rendered sites", hint="give the `data` folder of an artifact of the stage `docsite`"
        )
    command = [sys.executable, "-m", "bessemer.docsite.server", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            if not line:
                raise InputError(
                    f"the server for `{folder}` did not start (exit code {child.wait()})",
                    hint=f"see its message above, or run `{' '.join(command)}` by hand",
                )
            yield int(line)
        finally:
            child.stdin.close()
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()


@dataclass(frozen=True)
class ServedPage:
    """An HTTP response: status, headers and body. `delay_seconds` passes before it is sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    etag: str = ""
    delay_seconds: float = 0.0


class Answers:
    """The responses to all URLs of the sites in `folder`."""

    def __init__(self, folder: Path) -> None:
        facts = storage.read_json(folder / "site.json")
        self._answers: dict[str, ServedPage] = {}
        for path in storage.files_under(folder / "hosts"):
            url = f"http://{path.relative_to(folder / 'hosts').as_posix()}"
            url = re.sub(r"/index\.html$", "/", url)
            body = path.read_bytes()
            etag = f'"{content_hash(body.decode("latin-1"))}"'
            headers = {"Content-Type": _content_type(path), "ETag": etag, "Last-Modified": facts["last_modified"]}
            headers |= facts["headers"].get(url, {})
            delay = facts["delays"].get(url, 0.0)
            self._answers[url] = ServedPage(HTTPStatus.OK, tuple(headers.items()), body, etag, delay)
        for url, location in facts["redirects"].items():
            self._answers[url] = _redirect(location)
        self._not_found = ServedPage(HTTPStatus.NOT_FOUND, (("Content-Type", "text/html; charset=utf-8"),), _NOT_FOUND)

    def find(self, host: str, target: str) -> ServedPage:
        """The response for a host and a request target. Ignores the query string, because all files are static."""
        path = re.sub(r"/index\.html$", "/", unquote(urlsplit(target).path))
        url = f"http://{host.partition(':')[0].lower()}{path}"
        if url in self._answers:
            return self._answers[url]
        if f"{url}/" in self._answers:
            return _redirect(f"{path}/")
        return self._not_found


def _redirect(location: str) -> ServedPage:
    return ServedPage(HTTPStatus.MOVED_PERMANENTLY, (("Location", location),), b"")


def _content_type(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind.endswith("xml") else kind


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "bessemer-docsite"
    wbufsize = -1  # one write per response
    disable_nagle_algorithm = True
    timeout = 60
    answers: Answers

    def do_GET(self) -> None:
        answer = self.answers.find(self.headers.get("Host", ""), self.path)
        if answer.delay_seconds:
            time.sleep(answer.delay_seconds)
        if answer.etag and self.headers.get("If-None-Match") == answer.etag:
            answer = ServedPage(HTTPStatus.NOT_MODIFIED, (("ETag", answer.etag),), b"")
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer.body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing, because the crawler keeps its own record."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that disconnect or time out; prints every other error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def main(folder: Path) -> None:
    """Serves until standard input or the parent process ends. Ignores Ctrl-C, which the parent handles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    handler = type("Handler", (_Handler,), {"answers": Answers(folder)})
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], 1.0)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
