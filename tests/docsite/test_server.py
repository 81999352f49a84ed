"""Tests of the server of the rendered sites: correct responses, and an end with its parent process."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bessemer.docsite.server import serve
from bessemer.docsite.sites import LAST_MODIFIED
from bessemer.errors import InputError

PARENT = """
import pathlib, sys, time
from bessemer.docsite.server import serve
with serve(pathlib.Path(sys.argv[1])) as port:
    print(port, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def port(site_folder: Path) -> Iterator[int]:
    with serve(site_folder) as port:
        yield port


def ask(
    port: int, path: str, host: str = "library.test", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host, **headers})
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return found


def test_a_page_comes_with_its_type_length_and_validators(port: int, site_folder: Path) -> None:
    status, headers, body = ask(port, "/statistics/")
    assert status == 200
    assert body == (site_folder / "hosts/library.test/statistics/index.html").read_bytes()
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Length"] == str(len(body))
    assert headers["Last-Modified"] == LAST_MODIFIED
    assert ask(port, "/statistics/", **{"If-None-Match": headers["ETag"]})[0::2] == (304, b"")
    assert ask(port, "/statistics/", method="HEAD")[0::2] == (200, b"")


def test_the_host_header_picks_the_site(port: int) -> None:
    assert b"Welcome to packages.test" in ask(port, "/", host="packages.test")[2]
    assert b"Welcome to library.test" in ask(port, "/", host=f"LIBRARY.test:{port}")[2]
    assert ask(port, "/", host="unknown.test")[0] == 404


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/robots.txt", "text/plain; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml; charset=utf-8"),
        ("/es/", "text/html; charset=iso-8859-1"),
        ("/empty.html", "text/html; charset=utf-8"),
    ],
)
def test_content_types(port: int, path: str, kind: str) -> None:
    status, headers, _ = ask(port, path)
    assert (status, headers["Content-Type"]) == (200, kind)


def test_the_sitemap_is_xml_and_the_draft_asks_not_to_be_indexed(port: int) -> None:
    assert ask(port, "/sitemap.xml")[1]["Content-Type"].endswith("/xml; charset=utf-8")
    assert ask(port, "/draft.html")[1]["X-Robots-Tag"] == "noindex"


def test_redirects_and_dead_ends(port: int) -> None:
    for path, location in [("/docs/", "/modules.html"), ("/modules.html", "/"), ("/statistics", "/statistics/")]:
        status, headers, body = ask(port, path)
        assert (status, headers["Location"], body) == (301, location, b"")
    assert ask(port, "/changes/0.9.html")[0] == 404
    assert ask(port, "/../site.json")[0] == 404


def test_a_query_an_escape_and_the_index_by_name_change_nothing(port: int) -> None:
    page = ask(port, "/statistics/")[2]
    assert ask(port, "/statistics/?from=home")[2] == page
    assert ask(port, "/stat%69stics/")[2] == page
    assert ask(port, "/statistics/index.html")[2] == page


def test_one_connection_serves_many_requests(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for path, status in [("/", 200), ("/docs/", 301), ("/nowhere", 404), ("/statistics/", 200)] * 20:
        connection.request("GET", path, headers={"Host": "library.test"})
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def test_the_server_ends_with_the_block(site_folder: Path) -> None:
    with serve(site_folder) as port:
        assert ask(port, "/")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/")


def test_the_server_dies_with_a_parent_that_is_killed(site_folder: Path) -> None:
    """After SIGKILL the parent cannot clean up. The server notices the end of the pipe."""
    command = [sys.executable, "-c", PARENT, str(site_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        (server,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    _, alive = psutil.wait_procs([server], timeout=10)
    assert not alive
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/")


def test_ctrl_c_is_left_to_the_parent(site_folder: Path) -> None:
    """A terminal sends Ctrl-C to every process of the group. The server must still answer requests."""
    with serve(site_folder) as port:
        listening = [p for p in psutil.Process().children() if port in {c.laddr[1] for c in p.net_connections("inet")}]
        assert len(listening) == 1
        listening[0].send_signal(signal.SIGINT)
        time.sleep(0.05)
        assert ask(port, "/")[0] == 200


def test_a_folder_without_sites_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no rendered sites"), serve(tmp_path):
        pass
