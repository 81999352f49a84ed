"""Protects: the first request to a cluster fails within seconds, with an error that has a hint."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bessemer.errors import ClusterUnreachable, UsageError
from bessemer.runner import jobs
from bessemer.runner.jobs import Jobs, check_dashboard, dashboard_url


class Dashboard(BaseHTTPRequestHandler):
    """Answers like a Ray dashboard with the token `right`. `/open` is a dashboard without authentication."""

    def do_GET(self) -> None:
        token = self.headers.get("Authorization")
        if self.path.startswith("/open") or token == "Bearer right":
            self.answer(200, b'{"ray_version": "2.60.0"}')
        elif self.path.startswith("/other"):
            self.answer(200, b"<html>a web site</html>")
        elif self.path.startswith("/list"):
            self.answer(200, b"[]")
        else:
            self.answer(403 if token else 401, b"no")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def dashboard() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://head:8265", "http://head:8265"),
        ("https://ray.example.org/", "https://ray.example.org"),
        ("head:8265", "http://head:8265"),
        ("[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_an_address_may_lack_its_scheme(address: str, url: str) -> None:
    assert dashboard_url(address) == url


@pytest.mark.parametrize("address", ["ray://head:10001", "auto", "local", "", "http://", "http://head:port", "[::1"])
def test_an_address_of_another_kind_is_refused_at_once(address: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a Ray dashboard") as caught:
        Jobs(address)
    assert "--address http://127.0.0.1:8265" in caught.value.hint


def test_a_missing_and_a_wrong_token_are_told_apart(
    dashboard: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ClusterUnreachable, match="asks for a token, and none is set") as caught:
        Jobs(dashboard)
    assert "RAY_AUTH_TOKEN" in caught.value.hint
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(ClusterUnreachable, match="refuses the token"):
        Jobs(dashboard)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("right\n")
    check_dashboard(dashboard)
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_cluster_without_authentication_needs_no_token(dashboard: str) -> None:
    check_dashboard(f"{dashboard}/open")
    assert os.environ["RAY_AUTH_MODE"] == "disabled"


@pytest.mark.parametrize("path", ["other", "list"])
def test_another_program_at_the_address_is_not_a_cluster(dashboard: str, path: str) -> None:
    with pytest.raises(ClusterUnreachable, match="no Ray cluster answers"):
        Jobs(f"{dashboard}/{path}")


@pytest.mark.parametrize("speech", [b"", b"\x00\x01 this is not HTTP\n\n"])
def test_a_port_that_does_not_speak_http_is_not_a_cluster(monkeypatch: pytest.MonkeyPatch, speech: bytes) -> None:
    """An empty `speech` keeps the connection open and silent, so the time limit of the request ends the wait."""
    monkeypatch.setattr(jobs, "PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def serve() -> None:
            connection, _ = server.accept()
            connection.sendall(speech)
            connections.append(connection)
            if speech:
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(ClusterUnreachable, match="no Ray cluster answers"):
            Jobs(f"127.0.0.1:{server.getsockname()[1]}")
        for connection in connections:
            connection.close()
