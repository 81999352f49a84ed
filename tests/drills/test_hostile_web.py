"""A crawl of hostile sites ends with a verdict for each URL, and with all pages of the honest site.

One command crawls an honest site next to servers that break HTTP, compress bombs, never stop sending, redirect in
circles or to private addresses, and serve pages that take a parser hours. The pages are then extracted. The drill
checks the verdicts, the archive, the memory, the requests, and that no output has a control character. Run by `make
drill`.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.drills.struck_run import changed_python
from tests.support.odd_answers import ODD_ANSWERS
from tests.support.web import Answer, Site, Web, page, redirect

from bessemer import cli
from bessemer.artifacts.pages import read_pages
from bessemer.runner import runs

pytestmark = pytest.mark.drill

HONEST = 25
MEMORY_BYTES = 1 << 30
"""Maximum memory of the crawling process. The bombs expand to several times this size."""
RECIPE = """
name: hostile
num_workers: 0
stages:
  crawl:
    seeds: [http://honest.test/]
    connect_to: {{"*.test": "http://127.0.0.1:{port}"}}
    allowed_hosts: ["*.test", 127.0.0.1, 169.254.169.254, "[::ffff:7f00:1]"]
    content_types: [text/html, text/plain]
    delay_seconds: 0
    max_delay_seconds: 2
    max_depth: 50
    max_retries: 1
    max_pages: 2000
    max_page_bytes: 1 MiB
    timeout_seconds: 6
  extract: {{split: {{validation: 0.1}}}}
"""
QUICK_PARSER = "from bessemer.crawl import parser\nparser.CPU_SECONDS = 2.0\n"
"""The time limit of a page is 20 s of CPU time. The pages here would take hours."""
ESCAPES = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\u202e"
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


def endless(start: bytes, piece: bytes, pause: float = 0.0) -> Answer:
    """An answer that ends after a minute."""

    def pieces() -> Iterator[bytes]:
        yield start
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            yield piece
            time.sleep(pause)

    return Answer(raw=pieces)


def bomb(size: int) -> bytes:
    """A gzip file of `size` zero bytes."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def attacks() -> dict[str, Answer | str]:
    """The hostile answers on separate hosts, so that the slow ones wait at the same time."""
    deep, wide = "<div>" * 200_000, "".join(f"a{n}=1 " for n in range(60_000))
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    laughs = f'<?xml version="1.0"?><!DOCTYPE urlset [<!ENTITY a0 "ha">{entities}]><urlset><url><loc>&a11;</loc></url>'
    zeros = bomb(1 << 30)
    nested = gzip.compress(gzip.compress(zeros))
    found: dict[str, Answer | str] = {
        f"odd-{path[1:]}.test{path}": Answer(raw=raw) for path, raw in ODD_ANSWERS.items()
    }
    found |= {
        "bomb.test/": Answer(zeros, headers={"Content-Encoding": "gzip"}),
        "nested.test/": Answer(nested, headers={"Content-Encoding": "gzip, gzip, gzip"}),
        "codings.test/": Answer("x", headers={"Content-Encoding": ", ".join(["gzip"] * 5000)}),
        "body.test/": endless(HTML + b"\r\n", b"<p>more</p>" * 1000),
        "chunks.test/": endless(HTML + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n" * 1000),
        "headers.test/": endless(HTML, b"X-More: more\r\n" * 100),
        "header.test/": endless(HTML + b"X-More: ", b"more" * 1000),
        "drip.test/": endless(HTML + b"\r\n", b"x", 0.2),
        "drip-headers.test/": endless(HTML, b"X: y\r\n", 0.2),
        "mute.test/": endless(b"", b"", 0.2),
        "informed.test/": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "closed.test/": Answer(raw=b""),
        "short.test/": Answer(raw=HTML + b"Content-Length: 5000\r\n\r\n<p>short</p>"),
        "garbage.test/": Answer(raw=bytes(range(256)) * 1000),
        "circle.test/": redirect("http://circle.test/back"),
        "circle.test/back": redirect("http://circle.test/"),
        "local.test/": redirect("http://127.0.0.1:{port}/secret"),
        "mapped.test/": redirect("http://[::ffff:127.0.0.1]:{port}/secret"),
        "number.test/": redirect("http://2130706433:{port}/secret"),
        "metadata.test/": redirect("http://169.254.169.254/secret"),
        "file.test/": redirect("file:///etc/passwd"),
        "refresh.test/": page(head='<meta http-equiv="refresh" content="0; url=http://127.0.0.1:{port}/secret">'),
        "inject.test/": page(
            "/x%0d%0aX-Injected:%20yes", "/y\r\nX-Injected: yes", "http://honest.test:{port}@127.0.0.1/"
        ),
        "deep.test/": deep,
        "wide.test/": f"<a {wide}>",
        "crossed.test/": "<b>" * 50_000 + "</i>" * 50_000,
        "comment.test/": "<!--" * 200_000,
        "links.test/": page(*(f"http://elsewhere.example/{n}" for n in range(12_000))),
        "walls.test/robots.txt": Answer("User-agent: *\nDisallow: /private/"),
        "walls.test/": page(*(f"/private/{n}" for n in range(5000))),
        "base.test/": page("a", "b", head=f'<base href="http://base.test/{"x" * 500_000}/">'),
        "archive.test/": page(
            text="WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 0\r\n\r\n\r\n\r\nHTTP/1.1 200 OK\r\n"
        ),
        "zeros.test/": Answer(b"<p>a\x00b</p>" + bytes(100_000), content_type="text/html; charset=utf-32"),
        "seven.test/": Answer("+ADw-script+AD4-", content_type="text/html; charset=utf-7"),
        "terminal.test/": page(f"/{ESCAPES}", head=f"<title>{ESCAPES}</title>", text=ESCAPES),
        "reason.test/": Answer(raw=b"HTTP/1.1 404 \x1b]52;c;ZXZpbA==\x07\x1b[2J\r\nContent-Type: \x1b[31m\r\n\r\n"),
        "type.test/": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Type: \x1b]0;evil\x07/x\r\n\r\nx"),
        "robots.test/robots.txt": endless(b"HTTP/1.1 200 OK\r\n\r\n", b"Disallow: /\x1b[2J\xff\n" * 1000),
        "robots.test/": page(),
        "rules.test/robots.txt": redirect("http://rules.test/robots.txt"),
        "rules.test/": page(),
        "waits.test/robots.txt": Answer("User-agent: *\nCrawl-delay: 1e308"),
        "waits.test/": page(),
        "maps.test/robots.txt": Answer(
            "Sitemap: http://127.0.0.1:{port}/secret\nSitemap: /laughs.xml\nSitemap: /bomb.gz\nSitemap: /self.xml\n"
            "Sitemap: file:///etc/passwd\nSitemap: /odd.xml",
        ),
        "maps.test/": page(),
        "maps.test/laughs.xml": laughs,
        "maps.test/bomb.gz": Answer(zeros, content_type="application/gzip"),
        "maps.test/self.xml": "<sitemapindex><sitemap><loc>http://maps.test/self.xml</loc></sitemap></sitemapindex>",
        "maps.test/odd.xml": Answer(raw=ODD_ANSWERS["/reason"]),
    }
    for hop in range(30):
        found[f"hops.test/{hop or ''}"] = redirect(f"http://hops.test/{hop + 1}")
    return found


ODD_VERDICTS = {
    "/reason": "kept",
    "/type": "content_type",
    "/charset": "kept",
    "/coding": "kept",
    "/name": "kept",
    "/version": "broken_response",
    "/range": "http_206",
    "/length": "kept",
    "/location": "bad_redirect",
    "/zone": "http_503",
    "/date": "http_429",
    "/pause": "http_503",
}
SLOW = {"timeout", "too_large"}
VERDICTS: dict[str, set[str]] = {
    "http://127.0.0.1/": {"private_address"},
    "http://127.0.0.1:{port}/secret": {"private_address"},
    "http://169.254.169.254/secret": {"private_address"},
    "http://[::ffff:7f00:1]:{port}/secret": {"private_address"},
    "http://archive.test/": {"kept"},
    "http://base.test/": {"kept"},
    "http://body.test/": SLOW,
    "http://bomb.test/": {"broken_response"},
    "http://chunks.test/": SLOW,
    "http://circle.test/": {"redirect"},
    "http://circle.test/back": {"redirect"},
    "http://closed.test/": {"connection_failed"},
    "http://codings.test/": {"broken_response"},
    "http://crossed.test/": {"too_slow"},
    "http://deep.test/": {"kept"},
    "http://drip-headers.test/": {"timeout"},
    "http://drip.test/": {"timeout"},
    "http://elsewhere.example/9999": {"out_of_scope"},
    "http://elsewhere.example/11999": {"out_of_scope"},
    "http://file.test/": {"bad_redirect"},
    "http://garbage.test/": {"broken_response"},
    "http://header.test/": {"broken_response"},
    "http://headers.test/": {"broken_response"},
    "http://hops.test/9": {"redirect"},
    "http://hops.test/10": {"too_many_redirects"},
    "http://informed.test/": {"timeout", "broken_response"},
    "http://inject.test/x%0D%0AX-Injected:%20yes": {"http_404"},
    "http://inject.test/yX-Injected:%20yes": {"http_404"},
    "http://local.test/": {"redirect"},
    "http://maps.test/": {"kept"},
    "http://maps.test/bomb.gz": {"sitemap_bytes", "timeout"},
    "http://mute.test/": {"timeout"},
    "http://nested.test/": {"broken_response"},
    "http://reason.test/": {"http_404"},
    "http://robots.test/": {"robots_unavailable"},
    "http://rules.test/": {"robots_unavailable"},
    "http://short.test/": {"incomplete_response"},
    "http://waits.test/": {"crawl_delay"},
    "http://walls.test/private/4999": {"robots"},
    "http://wide.test/": {"kept"},
}


def site_of(hostile: dict[str, Answer | str], port: int) -> Site:
    """The hostile answers with the port of the server, and the honest site, which links to all of them."""
    pages = {place for place in hostile if not place.endswith((".txt", ".xml", ".gz"))}
    linked = [f"http://{place}" for place in sorted(pages) if place == "hops.test/" or "hops" not in place]
    words = "Honest words of page {} that an extractor keeps. "
    site: dict[str, Any] = {f"honest.test/{n}": page(f"/{n + 1}", text=words.format(n) * 30) for n in range(1, HONEST)}
    site |= {"honest.test/": page("/1", *linked, text=words.format(0) * 30), "/secret": page(text="secret")}
    for place, answer in hostile.items():
        answer = Answer(answer) if isinstance(answer, str) else answer
        body = answer.body.replace("{port}", str(port)) if isinstance(answer.body, str) else answer.body
        headers = {name: value.replace("{port}", str(port)) for name, value in answer.headers.items()}
        site[place] = Answer(body, answer.status, answer.content_type, headers, answer.raw)
    return site


def check_output(said: str) -> None:
    """Checks that a terminal does not interpret any part of the output."""
    assert "Traceback" not in said
    controls = {one for one in said if unicodedata.category(one) == "Cc" and one not in "\t\n"}
    assert not controls | (set(said) & {"\u202e"}), said


def run_recipe(folder: Path) -> int:
    """Runs the recipe and checks its output. Returns the maximum memory of a process of the run in bytes."""
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bessemer", "run", "recipe.yaml"],
            cwd=folder, env={**os.environ, **changed_python(folder / "python", QUICK_PARSER)}, stdout=log, stderr=log,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
    said = (folder / "log.txt").read_text()
    print(said, flush=True)
    assert status == 0, said
    check_output(said)
    return usage.ru_maxrss * 1024


def test_a_crawl_of_hostile_sites_ends_with_all_verdicts(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    with Web({}) as web:
        web.site.update(site_of(attacks(), web.port))
        (tmp_path / "recipe.yaml").write_text(RECIPE.format(port=web.port))
        memory = run_recipe(tmp_path)
        asked = len(web.requests)
        run_recipe(tmp_path)
    assert len(web.requests) == asked, "a finished crawl asks for nothing again"
    assert memory < MEMORY_BYTES
    assert not [request for request in web.requests if request.path == "/secret" or "X-Injected" in request.headers]

    run = runs.find(root, None)
    crawl = run.artifact_folder("crawl")
    ledger = pq.read_table(crawl / "ledger" / "00000.parquet").to_pylist()
    found = {row["url"]: row["rule"] or row["verdict"] for row in ledger}
    expected = {url.replace("{port}", str(web.port)): verdicts for url, verdicts in VERDICTS.items()}
    assert {url: found.get(url) for url in expected if found.get(url) not in expected[url]} == {}
    assert "crashed" not in found.values()
    for path, state in ODD_VERDICTS.items():
        assert found[f"http://odd-{path[1:]}.test{path}"] == state
    kept = {url for url, verdict in found.items() if verdict == "kept"}
    assert {url for url in kept if "honest" in url} == {f"http://honest.test/{n or ''}" for n in range(HONEST)}
    archived = Counter(item.url for path in crawl.glob("data/*.warc.gz") for item in read_pages(path))
    assert archived == Counter(kept), "each kept page is in the archive once"
    parts = (pq.read_table(part) for part in (run.artifact_folder("extract") / "data").glob("*.parquet"))
    assert sum("Honest words" in text for part in parts for text in part["text"].to_pylist()) == HONEST

    for words in (
        ["show", "@last", "crawl", "--dropped", "--sample", "500"],
        ["show", "@last", "extract"],
        ["explain", "http://reason.test/"],
        ["explain", "http://terminal.test/"],
        ["logs"],
        ["status"],
    ):
        answer = CliRunner().invoke(cli.bessemer, [*words, "--storage-path", str(root)])
        assert answer.exit_code == 0, (words, answer.output)
        assert answer.output
        check_output(answer.output)
