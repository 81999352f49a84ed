"""crawl: sites to pages; every URL has a verdict, and stopping, killing and worker counts change nothing but time."""

from __future__ import annotations

import functools
import hashlib
import http.server
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from tests.support.web import Answer, Site, Web, page, redirect

from bessemer import storage
from bessemer.artifacts.pages import Page, read_page, read_pages
from bessemer.crawl import limits
from bessemer.errors import InputError, Stopped
from bessemer.stages import crawl
from bessemer.stages.base import Context, Draft

LIBRARY: Site = {
    "library.test/robots.txt": Answer("User-agent: *\nDisallow: /private/\nSitemap: /map.xml"),
    "library.test/map.xml": Answer("<urlset><url><loc>http://library.test/hidden</loc></url></urlset>"),
    "library.test/": page(
        "/a", "/b", "/old", "/private/x", "http://guide.test/", "http://elsewhere.test/", "/paper.pdf"
    ),
    "library.test/a": page("/b", "/c", "/missing", "/a?utm_source=x"),
    "library.test/b": Answer("plain words", content_type="text/plain"),
    "library.test/c": page("/d", "/picture"),
    "library.test/d": page("/e"),
    "library.test/e": page("/f"),
    "library.test/f": page("/g"),
    "library.test/hidden": page("/a", head='<link rel="canonical" href="/canonical">'),
    "library.test/canonical": page(),
    "library.test/old": redirect("/new"),
    "library.test/new": page(head='<meta http-equiv="refresh" content="0; url=/c">'),
    "library.test/picture": Answer(b"\x89PNG", content_type="image/png"),
    "guide.test/": page("/one", "/two", "http://library.test/a"),
    "guide.test/one": page("/draft", text="é" * 5000),
    "guide.test/draft": page(head='<meta name="robots" content="noindex">'),
    "guide.test/two": redirect("http://library.test/d"),
}
SETTINGS: dict[str, Any] = {
    "seeds": ["http://library.test/", "http://guide.test"],
    "delay_seconds": 0,
    "max_depth": 3,
    "max_retries": 0,
}
VERDICTS = {
    "http://library.test/": "kept",
    "http://library.test/a": "kept",
    "http://library.test/b": "kept",
    "http://library.test/c": "kept",
    "http://library.test/d": "kept",
    "http://library.test/e": "kept",
    "http://library.test/f": "kept",
    "http://library.test/g": "too_deep",
    "http://library.test/hidden": "kept",
    "http://library.test/canonical": "kept",
    "http://library.test/old": "redirect",
    "http://library.test/new": "redirect",
    "http://library.test/missing": "http_404",
    "http://library.test/picture": "content_type",
    "http://library.test/paper.pdf": "file_type",
    "http://library.test/private/x": "robots",
    "http://elsewhere.test/": "out_of_scope",
    "http://guide.test/": "kept",
    "http://guide.test/one": "kept",
    "http://guide.test/two": "redirect",
    "http://guide.test/draft": "noindex",
}


@pytest.fixture
def make_draft(tmp_path: Path) -> Callable[..., Draft]:
    return lambda name="draft": Draft(tmp_path / name, "0" * 32)


def run(web: Web, draft: Draft, context: Context, **changes: Any) -> Draft:
    config = crawl.Config(**(SETTINGS | {"connect_to": web.connect_to} | changes))
    crawl.run(config, {}, draft, context)
    return draft


def verdicts(draft: Draft) -> dict[str, str]:
    rows = pq.read_table(draft.ledger / "00000.parquet").to_pylist()
    return {row["url"]: row["rule"] or row["verdict"] for row in rows}


def pages(draft: Draft) -> list[tuple[str, str, int]]:
    table = pq.read_table(draft.data / "index.parquet", columns=["url", "digest", "depth"])
    return sorted(map(tuple, (row.values() for row in table.to_pylist())))


def stored(draft: Draft) -> Counter[str]:
    """How often each URL is in the WARC files."""
    files = [path for path in storage.files_under(draft.data) if path.name.endswith(".warc.gz")]
    return Counter(item.url for path in files for item in read_pages(path))


def test_every_url_has_its_verdict_and_every_page_its_place(make_draft: Any, make_context: Any) -> None:
    with Web(LIBRARY) as web:
        draft = run(web, make_draft(), make_context())
    assert verdicts(draft) == VERDICTS
    assert draft.counts is not None
    assert (draft.counts.documents_in, draft.counts.created) == (2, 19)
    assert (draft.counts.documents_out, draft.counts.removed) == (11, 10)
    assert draft.counts.removed_by_rule["redirect"] == 3
    index = pq.read_table(draft.data / "index.parquet").to_pylist()
    for row in index:
        kept = read_page(draft.data / row["file"], row["offset"], row["length"])
        assert isinstance(kept, Page)
        assert (kept.url, kept.payload_digest, len(kept.payload)) == (row["url"], row["digest"], row["num_bytes"])
        assert kept.fetched_at == row["fetched_at"]
    assert stored(draft) == Counter(row["url"] for row in index)
    asked = Counter((request.host, request.path) for request in web.requests)
    assert max(asked.values()) == 1, "no address is asked for twice"
    assert ("library.test", "/private/x") not in asked
    assert "elsewhere.test" not in {host for host, _ in asked}
    evidence = {row["url"]: row["evidence"] for row in pq.read_table(draft.ledger / "00000.parquet").to_pylist()}
    assert evidence["http://library.test/old"] == "http://library.test/new; found on http://library.test/"
    assert evidence["http://elsewhere.test/"] == "found on http://library.test/"
    assert evidence["http://library.test/a"] is None


def test_limits_are_warnings_and_rows_of_the_ledger(
    make_draft: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for rule, limit in {"links_per_page": 2, "sitemaps_per_site": 1, "urls_per_sitemap": 1, "robots_bytes": 60}.items():
        monkeypatch.setitem(limits.MAXIMUM, rule, limit)
    urls = "<urlset><url><loc>/one</loc></url><url><loc>/two</loc></url></urlset>"
    site: Site = {
        "/robots.txt": Answer("Sitemap: /1.xml\nSitemap: /2.xml\n" + "# a long comment\n" * 9),
        "/1.xml": Answer(urls, content_type="text/xml"),
        "/": page("/a", "/b", "/c", "/d"),
        "/a": page("/b", "/e", "/d"),
    } | {path: page() for path in ("/b", "/d", "/e", "/one")}
    with Web(site) as web:
        draft = run(web, make_draft(), make_context(), seeds=["http://a.test/"], max_pages=4)
    rows = {row["url"].removeprefix("http://a.test"): row for row in pq.read_table(draft.ledger).to_pylist()}
    found = {path: (row["rule"], row["value"], row["threshold"], row["evidence"]) for path, row in rows.items()}
    assert found["/c"] == ("links_per_page", 4.0, 2.0, "found on http://a.test/")
    assert found["/two"] == ("urls_per_sitemap", 2.0, 1.0, "found on http://a.test/1.xml")
    assert found["/1.xml"] == ("urls_per_sitemap", 2.0, 1.0, "found on http://a.test/robots.txt")
    assert found["/2.xml"] == ("sitemaps_per_site", None, 1.0, "found on http://a.test/robots.txt")
    assert found["/robots.txt"][0] == "robots_bytes"
    assert rows["/"]["signals"]["links_left_out"] == 2
    assert rows["/b"]["verdict"] == "kept"
    assert found["/d"][0] == "links_per_page"
    assert found["/e"][0] == "page_limit"
    assert draft.counts is not None
    assert draft.counts.removed_by_rule["links_per_page"] == 2
    warnings = "\n".join(record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    for rule in ("links_per_page", "sitemaps_per_site", "urls_per_sitemap", "robots_bytes", "page_limit"):
        assert f"excluded by `{rule}`" in warnings
    assert "3 URLs excluded by `links_per_page`" in warnings


def test_golden_output(make_draft: Any, make_context: Any) -> None:
    """If this fails and the change is meant, raise the version of the stage and put in the new hash."""
    with Web(LIBRARY) as web:
        draft = run(web, make_draft(), make_context())
    rows = [pages(draft), pq.read_table(draft.ledger / "00000.parquet").to_pylist()]
    assert (crawl.STAGE.version, hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]) == (7, "bb8821c010b16e58")


def many(count: int) -> Site:
    """A site whose pages each link to the next few; every fourth is missing."""
    return {
        f"library.test/{n or ''}": page(*(f"/{m}" for m in range(n + 1, min(n + 4, count))), text=f"page {n}")
        for n in range(count)
        if n % 4 != 3 or n == 0
    }


@pytest.mark.parametrize("changes", [{}, {"max_connections_per_host": 4}, {"max_connections": 1}])
def test_limits_cut_the_same_pages_however_they_are_fetched(
    make_draft: Any, make_context: Any, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = many(60) | {f"guide.test/{n or ''}": page(*(f"/{m}" for m in range(40))) for n in range(40)}
    settings = {"max_pages": 25, "max_pages_per_host": 15, "max_depth": 30}
    with Web(site) as web:
        whole = run(web, make_draft("whole"), make_context(), **settings)
        monkeypatch.setattr(crawl, "UNIT_URLS", 2)
        parts = run(web, make_draft("parts"), make_context(), **settings | changes)
    assert len(pages(whole)) == 25
    assert pages(whole) == pages(parts)
    assert verdicts(whole) == verdicts(parts)
    assert {"page_limit", "host_page_limit"} & set(verdicts(whole).values())


def test_a_stopped_crawl_goes_on_without_fetching_anything_twice(make_draft: Any, make_context: Any) -> None:
    """Asked to stop in the middle of a unit, it keeps the pages it has."""
    with Web(many(40)) as web:
        whole = run(web, make_draft("whole"), make_context(), max_depth=99)
        first = len(web.requests)
        draft, stops = make_draft(), 0
        while not (draft.data / "index.parquet").exists():
            context = make_context()
            context = replace(context, progress=functools.partial(stop_after, 8, itertools.count(1), context))
            try:
                run(web, draft, context, max_depth=99)
            except Stopped:
                stops += 1
    assert stops >= 2
    assert pages(draft) == pages(whole)
    assert max(stored(draft).values()) == 1
    asked = Counter(request.path for request in web.requests[first:])
    assert max(asked.values()) <= 2  # a request under way at the stop is repeated


def stop_after(limit: int, calls: Iterator[int], context: Context, *progress: object) -> None:
    if next(calls) >= limit:
        context.stopping.set()


def test_a_dead_unit_is_done_again_whole(make_draft: Any, make_context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crawl that dies between writing pages and its receipt leaves no page twice."""
    done, deaths = crawl._Worker.__call__, []

    def dies(self: Any, unit: Any, *, careful: bool) -> dict[str, Any]:
        receipt = done(self, unit, careful=careful)
        if unit.name not in deaths:
            deaths.append(unit.name)
            raise KeyboardInterrupt
        return receipt

    with Web(LIBRARY) as web:
        whole = run(web, make_draft("whole"), make_context())
        monkeypatch.setattr(crawl._Worker, "__call__", dies)
        draft = make_draft()
        for _ in range(30):
            try:
                run(web, draft, make_context())
                break
            except KeyboardInterrupt:
                continue
    assert len(deaths) > 3
    assert pages(draft) == pages(whole)
    assert verdicts(draft) == verdicts(whole)
    assert max(stored(draft).values()) == 1


CHILD = """
import json, logging, sys
from pathlib import Path
from bessemer.stages import crawl
from bessemer.stages.base import Context, Draft
settings, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
context = Context(seed=0, num_workers=0, log=logging.getLogger(), stop_file=folder / "stop", start_ray=None)
crawl.run(crawl.Config(**settings), {}, Draft(folder, "0" * 32), context)
"""


def test_a_crawl_that_ended_and_was_not_sealed_asks_for_nothing_again(make_draft: Any, make_context: Any) -> None:
    """Its process is killed between the last page and the manifest of the artifact."""
    with Web(many(20)) as web:
        draft = make_draft()
        run(web, draft, make_context(), max_depth=99)
        before, found = len(web.requests), pages(draft)
        run(web, draft, make_context(), max_depth=99)
    assert len(web.requests) == before
    assert pages(draft) == found


@pytest.mark.parametrize("folder", ["waves", "outcomes", "discoveries"])
def test_a_damaged_file_of_an_unfinished_crawl_repeats_at_most_its_unit(
    make_draft: Any, make_context: Any, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The state is empty, and is computed again from the units. A unit with a file that was cut off is fetched
    again."""
    with Web(many(8)) as web:
        draft = make_draft()
        run(web, draft, make_context(), max_depth=99)
        found = pages(draft)
        asked = Counter(f"http://library.test{path}" for path in web.paths())
        (state,) = storage.files_under(draft.work / "waves")
        unit = storage.files_under(draft.work / "outcomes")[-1]
        expected = [] if folder == "waves" else pq.read_table(unit)["url"].to_pylist()
        damaged = state if folder == "waves" else draft.work / folder / unit.name
        damaged.write_bytes(damaged.read_bytes()[:-20])
        state.write_bytes(b"")
        run(web, draft, make_context(), max_depth=99)
    again = Counter(f"http://library.test{path}" for path in web.paths()) - asked
    assert pages(draft) == found
    assert max(stored(draft).values()) == 1
    assert again == Counter(expected)
    assert f"`{damaged}` is damaged" in caplog.text


def test_killed_at_any_moment_it_continues(make_draft: Any, make_context: Any) -> None:
    """SIGKILL, again and again, each time a little later: the same pages, none stored twice."""
    site = {path: Answer(html, delay_seconds=0.004) for path, html in many(60).items()}  # type: ignore[arg-type]
    with Web(site) as web:
        whole = run(web, make_draft("whole"), make_context(), max_depth=99)
        draft = make_draft()
        settings = SETTINGS | {"connect_to": web.connect_to, "max_depth": 99}
        kills = 0
        for patience in range(1, 40):
            before = len(web.requests)
            child = subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(settings), str(draft.path)])
            while child.poll() is None and len(web.requests) < before + 20 * patience:
                time.sleep(0.002)
            if child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
            if child.wait() == 0:
                break
    assert kills >= 2
    assert pages(draft) == pages(whole)
    assert verdicts(draft) == verdicts(whole)
    assert max(stored(draft).values()) == 1


@pytest.mark.parametrize(
    ("site", "changes", "message", "hint"),
    [
        ({}, {"seeds": ["http://nobody.invalid/"]}, "unknown_host", "spelling"),
        ({}, {"connect_to": {"*.test": "127.0.0.1:1"}}, "connection_failed", "is up"),
        ({}, {"seeds": ["http://127.0.0.1:1/"], "contact": "x@y.test"}, "private_address", "allow_private_addresses"),
        ({"/robots.txt": Answer("User-agent: *\nDisallow: /")}, {}, "robots", "ask the site's owner"),
        ({"/robots.txt": Answer("", status=500)}, {}, "robots_unavailable", "robots.txt"),
        ({"/": Answer(b"%PDF", content_type="application/pdf")}, {}, "content_type", "content_types"),
        ({"/": Answer("", status=404)}, {}, "http_404", "seeds"),
        ({"/": page()}, {"allowed_hosts": ["other.test"]}, "out_of_scope", "allowed_hosts"),
    ],
)
def test_no_seed_that_gives_a_page_is_one_clear_error(
    make_draft: Any, make_context: Any, site: Site, changes: dict[str, Any], message: str, hint: str
) -> None:
    with Web(site) as web:
        draft = make_draft()
        with pytest.raises(InputError, match="no page could be crawled") as raised:
            run(web, draft, make_context(), **changes)
        assert f"gave `{message}`" in raised.value.message
        assert hint in raised.value.hint
        web.site |= {"/": page(), "/robots.txt": Answer("", status=404)}
        if not changes:  # the next attempt tries again
            run(web, draft, make_context())
            assert len(pages(draft)) == 2


def test_a_seed_that_moved_takes_its_host_along(make_draft: Any, make_context: Any) -> None:
    site = {
        "library.test/": redirect("https://www.library.test/en/"),
        "www.library.test/en/": page("/en/a", "http://library.test/x", "http://elsewhere.test/"),
        "www.library.test/en/a": page(),
        "library.test/x": page(),
    }
    with Web(site) as web:
        draft = run(web, make_draft(), make_context(), seeds=["http://library.test/"])
        narrow = make_draft("narrow")
        with pytest.raises(InputError):
            run(web, narrow, make_context(), seeds=["http://library.test/"], allowed_hosts=["library.test"])
    assert {url for url, *_ in pages(draft)} == {
        "https://www.library.test/en/",
        "https://www.library.test/en/a",
        "http://library.test/x",
    }


def test_a_site_artifact_is_served_for_the_crawl(make_draft: Any, make_context: Any, make_artifact: Any) -> None:
    made, seal = make_artifact("site")
    for name, html in {"index.html": page("/a.html", "http://guide.test/"), "a.html": page()}.items():
        storage.write_text(made.data / "hosts" / "library.test" / name, html)
    storage.write_text(made.data / "hosts" / "guide.test" / "index.html", page())
    facts = {"redirects": {}, "headers": {}, "delays": {}, "last_modified": "Tue, 02 Jan 2024 08:00:00 GMT"}
    storage.write_json(made.data / "site.json", facts)
    draft = make_draft()
    crawl.run(crawl.Config(**SETTINGS), {"site": seal()}, draft, make_context())
    assert [url for url, *_ in pages(draft)] == [
        "http://guide.test/",
        "http://library.test/",
        "http://library.test/a.html",
    ]


def test_workers_find_the_same_pages(
    make_draft: Any, make_context: Any, ray_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeds fit into one unit and are crawled in this process; the linked pages are one unit for each worker."""
    site: Site = {
        f"{host}.test/{n or ''}": page(*map(str, range(6))) for host in ("library", "guide") for n in range(6)
    }
    monkeypatch.setattr(crawl, "UNIT_URLS", 6)
    with Web(site) as web:
        here = run(web, make_draft("here"), make_context())
        there = run(web, make_draft("there"), make_context(num_workers=2, start_ray=lambda: ray_session))
    assert len([path for path in there.data.iterdir() if path.name.startswith("00001-0000-")]) == 2
    assert pages(here) == pages(there)
    assert verdicts(here) == verdicts(there)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": []}, "at least 1 item"),
        ({"seeds": ["docs.test"]}, "not an address"),
        ({"seeds": ["https://www.python.org/"]}, "`contact` is required"),
        ({"seeds": ["http://10.0.0.1/"]}, "`contact` is required"),
        ({"exclude": ["["]}, "not a regular expression"),
        ({"user_agent": "My Bot/1.0"}, "should match pattern"),
        ({"connect_to": {"*.test": "localhost"}}, "not an address and a port"),
        ({"max_page_bytes": "many"}, "is not a size"),
        ({"max_pages": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        crawl.Config(**(SETTINGS | settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"seeds": ["https://www.python.org/"], "contact": "https://example.com/bot"},
        {"seeds": ["http://10.0.0.1/"], "allow_private_addresses": True},
        {"seeds": ["https://www.python.org/"], "connect_to": {"*.python.org": "127.0.0.1:80"}},
        {"max_page_bytes": "2MiB"},
    ],
)
def test_settings_that_can(settings: dict[str, Any]) -> None:
    assert crawl.Config(**(SETTINGS | settings)).max_pages == 1000


def test_a_real_site_at_its_own_name(dataset: Any, make_draft: Any, make_context: Any) -> None:
    """community.apache.org, with its robots.txt, sitemap and absolute https links, served from a folder on loopback."""
    folder = dataset("site_apache") / "community"
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        draft = make_draft()
        config = crawl.Config(
            seeds=["https://community.apache.org/"],
            connect_to={"community.apache.org": f"http://127.0.0.1:{server.server_address[1]}"},
            delay_seconds=0,
            max_connections_per_host=4,
        )
        crawl.run(config, {}, draft, make_context())
        server.shutdown()
    found = {url for url, *_ in pages(draft)}
    html = {path.relative_to(folder).as_posix() for path in folder.rglob("*.html")}
    expected = {f"https://community.apache.org/{name.removesuffix('index.html')}" for name in html}
    missed = expected - {url.replace("/index.html", "/") for url in found}
    assert len(found) > 150
    assert len(missed) < 0.1 * len(expected), sorted(missed)
    assert draft.counts is not None
    draft.counts.check()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, format: str, *args: object) -> None:
        pass
