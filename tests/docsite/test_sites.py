"""Tests of the rendered sites: reproducible bytes, complete and linked pages, text that survives extraction."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pyarrow.parquet as pq
import pytest
import trafilatura
from protego import Protego

from bessemer.docsite import catalog, surroundings
from bessemer.docsite.catalog import Package
from bessemer.docsite.server import Answers
from bessemer.docsite.sites import Sites, render
from bessemer.storage import files_under

RENDER = """
import sys, pathlib
from bessemer.docsite.sites import render
render(sys.argv[3:], int(sys.argv[2])).write(pathlib.Path(sys.argv[1]))
"""
MAX_PAGES, PACKAGES = 220, ["click"]  # of the fixture `rendered`
LINK = re.compile(r'<a (?:rel="license" )?href="([^"]+)"')


def html_pages(sites: Sites) -> dict[str, str]:
    return {
        url: content.decode("iso-8859-1" if url.endswith("/es/") else "utf-8")
        for url, content in sites.files.items()
        if url.endswith(("/", ".html"))
    }


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in files_under(folder):
        found.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def test_another_process_renders_the_same_bytes(site_folder: Path, tmp_path: Path) -> None:
    """The bytes depend neither on the order of sets nor on the history of the process."""
    command = [sys.executable, "-c", RENDER, str(tmp_path), str(MAX_PAGES), *PACKAGES]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "1"})
    assert digest(tmp_path) == digest(site_folder)


@pytest.mark.parametrize("max_pages", [100, 150, 400])
def test_there_are_never_more_pages_than_asked_for(
    max_pages: int, standard_library: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "read_standard_library", lambda: standard_library)
    sites = render([], max_pages)
    assert sites.num_pages <= max_pages
    assert sites.num_pages > 0.8 * max_pages or max_pages == 400, "the standard library alone has about 250 pages"


def test_every_entry_stands_on_its_page_signature_first_then_its_summary(rendered: Sites) -> None:
    pages = html_pages(rendered)
    looked_at = sorted({url for url, _ in rendered.entries})[::3]
    texts = {url: trafilatura.extract(pages[url], favor_precision=True) for url in looked_at}
    entries = [(entry, texts[url]) for url, entry in rendered.entries if url in texts]
    missing = [entry.qualified_name for entry, text in entries if f"{entry.signature}\n{entry.summary}" not in text]
    assert len(entries) > 500
    assert len(missing) < 0.02 * len(entries), missing


def test_no_text_around_an_article_is_taken_for_text(rendered: Sites) -> None:
    pages = html_pages(rendered)
    for url in sorted({url for url, _ in rendered.entries})[::12]:
        text = trafilatura.extract(pages[url], favor_precision=True)
        assert not re.search(r"uses no cookies|On this site|^(Home|About|Contact|Search)( ›|$)", text, re.MULTILINE), (
            url
        )


def test_links_lead_to_pages_and_only_two_addresses_a_site_are_dead(rendered: Sites, site_folder: Path) -> None:
    answers = Answers(site_folder)
    dead = set()
    for url, page in html_pages(rendered).items():
        for link in LINK.findall(page):
            parts = urlsplit(urljoin(url, link))
            if (parts.hostname or "").endswith(".test") and answers.find(
                parts.hostname or "", parts.path
            ).status == 404:
                dead.add((parts.hostname, parts.path))
    assert dead == {(host, "/changes/0.9.html") for host in rendered.hosts}


def test_links_from_the_home_pages_reach_every_page_that_may_be_crawled(rendered: Sites) -> None:
    pages = html_pages(rendered)
    seen, waiting = set(), [f"http://{rendered.hosts[0]}/"]
    while waiting:
        url = waiting.pop().partition("#")[0]
        if url in seen or url not in pages:
            continue
        seen.add(url)
        waiting += [urljoin(url, link) for link in LINK.findall(pages[url])]
    assert set(pages) - seen <= {f"http://{host}/search/help.html" for host in rendered.hosts}


def test_robots_txt_closes_pages_that_exist_and_the_sitemap_lists_most_of_the_others(rendered: Sites) -> None:
    for host in rendered.hosts:
        base = f"http://{host}/"
        robots = Protego.parse(rendered.files[base + "robots.txt"].decode())
        assert list(robots.sitemaps) == [base + "sitemap.xml"]
        pages = {url for url in html_pages(rendered) if url.startswith(base)}
        closed = {url for url in pages if not robots.can_fetch(url, "anybot")}
        assert closed == {base + "private/", base + "search/"}
        assert robots.can_fetch(base + "search/help.html", "anybot")
        assert not robots.can_fetch(base, "GreedyBot")
        listed = set(re.findall(r"<loc>(.*?)</loc>", rendered.files[base + "sitemap.xml"].decode()))
        assert listed < pages - closed
        assert len(listed) > 0.5 * len(pages)


def test_there_are_copies_older_versions_and_print_views_of_some_pages(rendered: Sites) -> None:
    pages = html_pages(rendered)
    kinds = [urlsplit(url).path.split("/")[1] for url in rendered.copies]
    assert {"latest", "previous", "print"} == set(kinds)
    for copy, original in rendered.copies.items():
        same = copy.replace("/latest/", "/") == original
        assert original in pages
        assert not same or pages[copy] == pages[original]


def test_people_on_the_pages_are_invented() -> None:
    """Addresses and numbers are from the ranges reserved for examples: RFC 2606, 555-0100 to 555-0199, test cards."""
    for number in range(300):
        text = surroundings.maintainer_line(str(number)) + surroundings.contact_article(f"{number}.test")
        assert set(re.findall(r"@([\w.]+)", text)) == {"example.org"}
        assert all(re.fullmatch(r"\+1 \(202\) 555-01\d\d", found) for found in re.findall(r"\+1[\d ()-]+\d", text))
        assert set(re.findall(r"\d{4} [\d ]{11,}", text)) <= set(surroundings._TEST_CARDS)


def test_the_entries_table_says_where_everything_is(rendered: Sites, site_folder: Path) -> None:
    rows = pq.read_table(site_folder / "entries.parquet").to_pylist()
    facts = json.loads((site_folder / "site.json").read_text())
    assert len(rows) == facts["num_entries"]
    assert {row["url"] for row in rows} <= set(rendered.files)
    assert len({(row["url"], row["name"]) for row in rows}) == len(rows)
    assert all(row["name"].startswith(f"{row['module']}.") for row in rows)
    assert {row["kind"] for row in rows} == {"function", "class", "method", "attribute"}
    fmean = next(row for row in rows if row["name"] == "statistics.fmean")
    assert fmean["url"] == "http://library.test/statistics/"
    assert fmean["doc"].startswith(fmean["summary"])


def test_a_page_in_another_language_says_so_and_may_be_in_an_old_encoding(rendered: Sites) -> None:
    spanish = rendered.files["http://library.test/es/"]
    assert b'lang="es"' in spanish
    assert "páginas".encode("iso-8859-1") in spanish
    assert rendered.headers["http://library.test/es/"] == {"Content-Type": "text/html; charset=iso-8859-1"}
    assert "ようこそ" in rendered.files["http://library.test/ja/"].decode()
