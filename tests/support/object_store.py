"""An object store on loopback that implements the part of S3 needed for reading."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


class ObjectStore(ThreadingHTTPServer):
    """Serves a folder as the bucket `corpus`. The first `failures` answers are server errors."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.failures = 0
        self.bytes_sent: list[int] = []
        self.daemon_threads = True

    def url(self, path: str = "tokens") -> str:
        where = f"scheme=http&endpoint_override=127.0.0.1:{self.server_port}&region=here"
        return f"s3://corpus/{path}?{where}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ObjectStore

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        if self.server.failures > 0 and body:
            self.server.failures -= 1
            return self.send(503, b"", {})
        path = self.server.root / self.path.partition("?")[0].removeprefix("/corpus/")
        if not path.is_file():
            return self.send(404, b"", {})
        content = path.read_bytes()
        headers = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "ETag": '"1"', "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if asked and body:
            first, last = (int(n) for n in asked.removeprefix("bytes=").split("-"))
            part = content[first : last + 1]
            self.server.bytes_sent.append(len(part))
            return self.send(206, part, headers | {"Content-Range": f"bytes {first}-{last}/{len(content)}"})
        return self.send(200, content, headers, body=body)

    def send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve(root: Path) -> Iterator[ObjectStore]:
    """Serves the folders in `root` while the body runs; credentials come from the environment (`KEYS`)."""
    found = ObjectStore(root)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        found.shutdown()
        found.server_close()
