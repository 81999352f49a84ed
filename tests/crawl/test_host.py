"""A host is treated politely: its rules first, its pauses kept, its troubles not made worse."""

from __future__ import annotations

import errno
import gzip
import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.odd_answers import ODD_ANSWERS
from tests.support.web import Answer, Site, Web, page, redirect

from bessemer import storage
from bessemer.artifacts.pages import Page, read_pages
from bessemer.crawl import limits
from bessemer.crawl.findings import CrawlFindings, Target
from bessemer.crawl.host import Manners
from bessemer.crawl.links import Links, find_links
from bessemer.crawl.unit import Policy, crawl_unit
from bessemer.errors import StorageError

MANNERS = Manners(
    token="Bessemer",
    delay_seconds=0.0,
    max_delay_seconds=5.0,
    max_connections_per_host=1,
    max_retries=1,
    retry_seconds=0.01,
)


@pytest.fixture
def unit(tmp_path: Path) -> Callable[..., tuple[Web, CrawlFindings]]:
    """Crawls some URLs of a site as one unit."""

    def crawl(
        site: Site, *paths: str, manners: Manners = MANNERS, depth: int = 0, **changes: Any
    ) -> tuple[Web, CrawlFindings]:
        with Web(site) as web:
            policy = Policy(
                manners=manners,
                user_agent="Bessemer/test",
                hosts=("a.test", "b.test"),
                include=(),
                exclude=(),
                content_types=("text/html", "text/plain"),
                max_page_bytes=changes.pop("max_page_bytes", 100_000),
                timeout_seconds=5.0,
                max_connections=8,
                allow_private_addresses=False,
                connect_to=changes.pop("connect_to", web.connect_to),
            )
            targets = [Target(path if "://" in path else f"http://a.test{path}", depth, 0) for path in paths]
            arguments: dict[str, Any] = {"new_origins": [], "seconds": 60.0} | changes
            findings = crawl_unit(
                targets, policy=policy, warc=tmp_path / "u.warc.gz", robots_folder=tmp_path / "robots", **arguments
            )
            return web, findings

    return crawl


def states(findings: CrawlFindings) -> dict[str, str]:
    return {outcome.url.removeprefix("http://a.test"): outcome.state for outcome in findings.outcomes}


def discovered(findings: CrawlFindings) -> dict[str, tuple[int, int, str]]:
    rows = findings.discoveries_table().to_pylist()
    return {row["url"].removeprefix("http://a.test"): (row["depth"], row["hops"], row["refusal"]) for row in rows}


def test_rules_come_first_and_what_they_forbid_is_never_asked_for(unit: Any) -> None:
    robots = Answer("User-agent: *\nDisallow: /private\nAllow: /private/door", content_type="text/plain")
    site = {"/robots.txt": robots, "/a": page(), "/private/door": page()}
    web, findings = unit(site, "/private/x", "/a", "/private/door")
    assert states(findings) == {"/private/x": "robots", "/a": "fetched", "/private/door": "fetched"}
    assert [request.path for request in web.requests] == ["/robots.txt", "/a", "/private/door"]


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answer("", status=503), "robots_unavailable"),
        (Answer("", status=429), "robots_unavailable"),
        (Answer(raw=b""), "connection_failed"),
        (redirect("/robots.txt"), "robots_unavailable"),
        (Answer("", status=403), "fetched"),
        (Answer("", status=204), "fetched"),
        (Answer(raw=b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), "fetched"),
        (Answer("<html>Not a robots file", status=200), "fetched"),
        (Answer("User-agent: *\nDisallow: /a\n" + "# long\n" * 100_000), "robots"),
        (Answer("# long\n" * 100_000 + "User-agent: *\nDisallow: /a\n"), "fetched"),
    ],
)
def test_without_rules_nothing_is_fetched(unit: Any, answer: Answer, state: str) -> None:
    web, findings = unit({"/robots.txt": answer, "/a": page()}, "/a")
    assert states(findings) == {"/a": state}
    assert web.paths() == (["/a"] if state == "fetched" else [])
    if state not in ("fetched", "robots"):
        assert "robots.txt" in (findings.outcomes[0].evidence or "")


def test_rules_are_asked_for_once_an_origin_and_kept(unit: Any, tmp_path: Path) -> None:
    site = {"/a": page(), "/b": page()}
    assert len(unit(site, "/a", "/b")[0].requests) == 3
    assert len(unit(site, "/a", "/b")[0].requests) == 2
    assert len(unit(site, "/a", "https://a.test/b")[0].requests) == 3
    for path in (tmp_path / "robots").iterdir():
        kept = storage.read_json(path)
        storage.write_json(path, kept | {"fetched_at": kept["fetched_at"] - 25 * 3600})
    assert len(unit(site, "/a")[0].requests) == 2


def test_a_private_address_refuses_the_whole_host(unit: Any) -> None:
    _, findings = unit({}, "http://127.0.0.1:1/a", connect_to={})
    assert [outcome.state for outcome in findings.outcomes] == ["private_address"]


def test_pauses_between_requests(unit: Any) -> None:
    site = {f"/{n}": page() for n in range(4)}
    web, _ = unit(site, "/0", "/1", "/2", "/3", manners=replace(MANNERS, delay_seconds=0.05))
    times = [request.at for request in web.requests]
    assert len(times) == 5
    assert all(later - earlier >= 0.045 for earlier, later in itertools.pairwise(times))


def test_the_site_may_ask_for_longer_pauses_but_not_for_any(unit: Any) -> None:
    robots = Answer("User-agent: bessemer\nCrawl-delay: 0.1", content_type="text/plain")
    site = {"/robots.txt": robots, "/a": page(), "/b": page()}
    web, _ = unit(site, "/a", "/b")
    times = [request.at for request in web.requests if request.path != "/robots.txt"]
    assert times[1] - times[0] >= 0.09
    _, findings = unit(site, "/a", manners=replace(MANNERS, max_delay_seconds=0.05))
    (outcome,) = findings.outcomes
    assert (outcome.state, outcome.value, outcome.threshold) == ("crawl_delay", 0.1, 0.05)


def test_a_slow_host_is_asked_less_often(unit: Any) -> None:
    site = {"/a": Answer(page(), delay_seconds=0.2), "/b": page()}
    web, _ = unit(site, "/a", "/b", manners=replace(MANNERS, delay_seconds=0.001))
    times = [request.at for request in web.requests if request.path != "/robots.txt"]
    assert times[1] - times[0] >= 0.38  # as long again as the answer took


@pytest.mark.parametrize("connections", [1, 3])
def test_connections_to_one_host_are_limited_while_other_hosts_go_on(unit: Any, connections: int) -> None:
    lock, now, most = threading.Lock(), {"a": 0, "b": 0}, {"a": 0, "b": 0}

    def busy(name: str) -> Callable[[], Answer]:
        def answer() -> Answer:
            with lock:
                now[name] += 1
                most[name] = max(most[name], now[name])
            time.sleep(0.03)
            with lock:
                now[name] -= 1
            return Answer(page())

        return answer

    site = {f"{name}.test/{n}": busy(name) for name in "ab" for n in range(6)}
    urls = [f"http://{name}.test/{n}" for name in "ab" for n in range(6)]
    _, findings = unit(site, *urls, manners=replace(MANNERS, max_connections_per_host=connections))
    assert {outcome.state for outcome in findings.outcomes} == {"fetched"}
    assert most["a"] <= connections
    assert most["b"] <= connections


def test_what_may_pass_is_tried_again(unit: Any) -> None:
    answers = {
        "/busy": iter([Answer("", status=503), Answer(page())]),
        "/short": iter([Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), Answer(page())]),
        "/always": itertools.repeat(Answer("", status=503, headers={"Retry-After": "0"})),
        "/gone": itertools.repeat(Answer("", status=410)),
    }
    site = {path: answers[path].__next__ for path in answers}  # type: ignore[attr-defined]
    web, findings = unit(site, *answers)
    assert states(findings) == {"/busy": "fetched", "/short": "fetched", "/always": "http_503", "/gone": "http_410"}
    assert [web.paths().count(path) for path in answers] == [2, 2, 2, 1]


def test_failures_that_stay_are_asked_for_once_and_make_no_pauses(unit: Any) -> None:
    """Only timeouts and the statuses of a busy server lengthen the pause between requests."""
    noise = bytes(range(256)) * 4
    broken: dict[str, Answer | str] = {
        "/not-http": Answer(raw=b"\x00\x01\x02\r\n\r\n"),
        "/not-brotli": Answer(noise, headers={"Content-Encoding": "br"}),
        "/lengths": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    }
    site = {f"{path}{n}": answer for n in range(10) for path, answer in broken.items()}
    manners = replace(MANNERS, max_retries=2, retry_seconds=3.0)
    began = time.monotonic()
    web, findings = unit(site, *site, manners=manners)
    assert set(states(findings).values()) == {"broken_response"}
    # On the connection of robots.txt, the bytes may be late ones of that answer: the first page is asked for again.
    assert len(web.paths()) <= len(site) + 1
    assert time.monotonic() - began < 30, "a pause of 3 seconds after each failure takes 90"


def test_a_kind_of_failure_that_stays_is_no_longer_retried(unit: Any) -> None:
    """Retries end after three URLs in a row whose retries all failed; a retry that helps starts the count again."""
    short = Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\nx")
    site: dict[str, Answer | str] = {f"/{n}": short for n in range(10)} | {"/busy": Answer("", status=502)}
    web, findings = unit(site, *site, manners=replace(MANNERS, max_retries=2, max_delay_seconds=10.0))
    assert Counter(states(findings).values()) == {"incomplete_response": 10, "http_502": 1}
    assert [web.paths().count(path) for path in site] == [3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 3]
    helped = {f"/{n}": iter([short, Answer(page())]).__next__ for n in range(10)}
    web, findings = unit(helped, *helped, manners=replace(MANNERS, max_retries=2))
    assert set(states(findings).values()) == {"fetched"}


def test_retry_after_is_obeyed_or_the_url_given_up(unit: Any) -> None:
    answers = iter([Answer("", status=429, headers={"Retry-After": "1"}), Answer(page())])
    web, findings = unit({"/a": answers.__next__}, "/a")
    times = [request.at for request in web.requests if request.path == "/a"]
    assert states(findings) == {"/a": "fetched"}
    assert times[1] - times[0] >= 0.95
    long = Answer("", status=429, headers={"Retry-After": "Wed, 21 Oct 2065 07:28:00 GMT"})
    web, findings = unit({"/a": long}, "/a")
    assert states(findings) == {"/a": "http_429"}
    assert web.paths() == ["/a"]


def test_a_host_that_stopped_answering_is_left_alone(unit: Any) -> None:
    site: dict[str, Answer | str] = {f"/{n}": Answer(raw=b"") for n in range(12)}
    web, findings = unit(site, *site, manners=replace(MANNERS, max_retries=1, retry_seconds=0.0))
    assert list(states(findings).values()) == ["connection_failed"] * 4 + ["host_down"] * 8
    assert set(web.paths()) == {"/0", "/1", "/2", "/3"}


def test_redirects_are_discoveries_judged_like_any_other(unit: Any) -> None:
    site = {
        "/a": redirect("/b", 302),
        "/out": redirect("http://elsewhere.test/"),
        "/zip": redirect("/x.zip"),
        "/self": redirect("/self#again"),
        "/mail": redirect("mailto:x@a.test"),
        "/refresh": page(head='<meta http-equiv=refresh content="0; url=/c">'),
        "/b": page(),
    }
    web, findings = unit(site, "/a", "/out", "/zip", "/self", "/mail", "/refresh", depth=2)
    assert states(findings) == {
        **dict.fromkeys(("/a", "/out", "/zip", "/refresh"), "redirect"),
        "/self": "redirect_loop",
        "/mail": "bad_redirect",
    }
    assert discovered(findings) == {
        "/b": (2, 1, ""),
        "/c": (2, 1, ""),
        "/x.zip": (2, 1, "file_type"),
        "http://elsewhere.test/": (2, 1, "out_of_scope"),
    }
    assert web.paths() == ["/a", "/out", "/zip", "/self", "/mail", "/refresh"]


def test_the_host_a_seed_redirects_to_can_be_adopted(unit: Any) -> None:
    site = {"/": redirect("http://www.elsewhere.test/")}
    adopting = replace(MANNERS, adopt_redirected_seeds=True)
    for manners, depth, refusal in ((MANNERS, 0, "out_of_scope"), (adopting, 0, ""), (adopting, 1, "out_of_scope")):
        _, findings = unit(site, "/", manners=manners, depth=depth)
        assert discovered(findings) == {"http://www.elsewhere.test/": (depth, 1, refusal)}


def test_pages_that_want_not_to_be_kept_are_not(unit: Any, tmp_path: Path) -> None:
    site = {
        "/meta": page("/from-meta", head='<meta name="robots" content="noindex">'),
        "/header": Answer(page("/from-header"), headers={"X-Robots-Tag": "none"}),
        "/text": Answer("plain", content_type="text/plain", headers={"X-Robots-Tag": "noindex"}),
    }
    _, findings = unit(site, *site)
    assert set(states(findings).values()) == {"noindex"}
    assert discovered(findings) == {"/from-meta": (1, 0, ""), "/from-header": (1, 0, "nofollow")}
    assert not (tmp_path / "u.warc.gz").exists()


def test_sitemaps_are_read_for_new_origins_only(unit: Any) -> None:
    loc = "<urlset><url><loc>http://a.test/{}</loc></url><url><loc>http://other.test/</loc></url></urlset>"
    site = {
        "/robots.txt": Answer("User-agent: *\nDisallow: /private\nSitemap: /s1.xml\nSitemap: http://other.test/s.xml"),
        "/s1.xml": redirect("/s2.xml"),
        "/s2.xml": Answer(loc.format("from-sitemap"), content_type="application/xml"),
        "b.test/robots.txt": Answer("", status=404),
        "b.test/sitemap.xml": Answer(loc.format("from-default"), content_type="text/xml"),
        "/": page(),
    }
    web, findings = unit(site, "/", "http://b.test/", new_origins=["http://a.test", "http://b.test"])
    assert discovered(findings) == {
        "/from-sitemap": (1, 0, ""),
        "/from-default": (1, 0, ""),
        "http://other.test/": (1, 0, "out_of_scope"),
        "http://other.test/s.xml": (1, 0, "out_of_scope"),
    }
    assert "other.test" not in {request.host for request in web.requests}
    web, findings = unit(site, "/")
    assert discovered(findings) == {}
    manners = replace(MANNERS, read_sitemaps=False)
    assert discovered(unit(site, "/", new_origins=["http://a.test"], manners=manners)[1]) == {}


def test_sitemaps_that_are_not_read_have_their_reasons(unit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits.MAXIMUM, "sitemaps_per_site", 2)
    names = ["gone", "endless", "one", "two", "three"]
    site = {
        "/robots.txt": Answer("".join(f"Sitemap: /{name}.xml\n" for name in names)),
        "/endless.xml": redirect("/endless.xml"),
        "/one.xml": Answer("<urlset><url><loc>/a</loc></url></urlset>"),
        "/": page(),
    }
    _, findings = unit(site, "/", new_origins=["http://a.test"])
    assert discovered(findings) == {
        "/gone.xml": (1, 0, "http_404"),
        "/endless.xml": (1, 0, "too_many_redirects"),
        "/one.xml": (1, 0, "sitemaps_per_site"),
        "/two.xml": (1, 0, "sitemaps_per_site"),
        "/three.xml": (1, 0, "sitemaps_per_site"),
    }
    (three,) = [row for row in findings.discoveries_table().to_pylist() if row["url"].endswith("three.xml")]
    assert (three["via"], three["threshold"]) == ("http://a.test/robots.txt", 2.0)


def test_links_beyond_the_limit_and_a_long_robots_file_are_in_the_findings(unit: Any) -> None:
    site = {
        "/robots.txt": Answer("User-agent: *\n" + "# long\n" * 100_000),
        "/": page(*(f"/p{n}" for n in range(10_002)), "/z.zip"),
    }
    _, findings = unit(site, "/", max_page_bytes=1_000_000)
    rows = {row["url"].removeprefix("http://a.test"): row for row in findings.discoveries_table().to_pylist()}
    for path in ("/p10000", "/p10001"):
        row = rows[path]
        assert (row["refusal"], row["via"]) == ("links_per_page", "http://a.test/")
        assert (row["value"], row["threshold"], row["depth"]) == (10_003.0, 10_000.0, 1)
    assert rows["/z.zip"]["refusal"] == "file_type"
    assert rows["/p9999"]["refusal"] == ""
    assert findings.outcomes[0].links_left_out == 3
    assert (rows["/robots.txt"]["refusal"], rows["/robots.txt"]["threshold"]) == ("robots_bytes", 512_000.0)


def test_pages_are_stored_where_their_outcomes_say(unit: Any, tmp_path: Path) -> None:
    site = {f"/{n}": page(text=f"page {n}") for n in range(5)}
    _, findings = unit(site, *site)
    stored = {item.offset: item for item in read_pages(tmp_path / "u.warc.gz") if isinstance(item, Page)}
    assert len(stored) == 5
    for outcome in findings.outcomes:
        assert outcome.offset is not None
        kept = stored[outcome.offset]
        assert (kept.url, kept.payload_digest) == (outcome.url, outcome.digest)
        assert (outcome.status, outcome.num_bytes, outcome.file) == (200, len(kept.payload), "u.warc.gz")


def test_asked_to_stop_it_stops_at_once_and_keeps_what_it_has(unit: Any, tmp_path: Path) -> None:
    site: dict[str, Answer | str] = {"/a": page(), "/b": Answer(page(), delay_seconds=4.0), "/c": page()}
    stop = threading.Event()
    began = time.monotonic()
    _, findings = unit(site, "/a", "/b", "/c", should_stop=stop.is_set, report=stop.set)
    assert states(findings) == {"/a": "fetched"}
    assert len(list(read_pages(tmp_path / "u.warc.gz"))) == 1
    assert time.monotonic() - began < 60


def test_out_of_time_it_leaves_the_rest_but_always_gets_on(unit: Any) -> None:
    site = {f"/{n}": page() for n in range(5)}
    _, findings = unit(site, *site, seconds=0.0)
    assert states(findings) == {"/0": "fetched"}


def test_no_odd_answer_ends_the_crawl_or_counts_as_our_fault(unit: Any) -> None:
    site = {path: Answer(raw=raw) for path, raw in ODD_ANSWERS.items()} | {"/good": page()}
    _, findings = unit(site, *site)
    found = states(findings)
    assert set(found) == set(site)
    assert found["/good"] == found["/reason"] == found["/charset"] == found["/coding"] == found["/name"] == "fetched"
    assert "crashed" not in found.values()
    assert len(findings.outcomes_table()) == len(site)


def test_a_defect_of_ours_costs_one_page_one_sitemap_or_the_pages_of_one_robots_file(
    unit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(payload: bytes, *args: Any, **settings: Any) -> Any:
        if b"defect" in payload:
            raise ZeroDivisionError("\udcff")
        return find_links(payload, *args, **settings)

    monkeypatch.setattr("bessemer.crawl.host.find_links", fails)
    site = {"/a": page(), "/b": page(text="defect"), "/c": page(), "b.test/d": page()}
    site |= {"a.test/robots.txt": "Sitemap: /defect.xml", "/defect.xml": "defect"}
    _, findings = unit(site, "/a", "/b", "/c")
    assert states(findings) == {"/a": "fetched", "/b": "crashed", "/c": "fetched"}
    assert findings.outcomes_table()["evidence"].to_pylist()[1] == "ZeroDivisionError: ?"

    monkeypatch.setattr("bessemer.crawl.sitemaps.parse_sitemap", fails)
    _, findings = unit(site, "/a", new_origins=["http://a.test"])
    assert states(findings) == {"/a": "fetched"}
    assert discovered(findings)["/defect.xml"][2] == "crashed"

    monkeypatch.setattr("bessemer.crawl.robots.parse_robots", fails)
    site |= {"b.test/robots.txt": "defect", "b.test/e": page()}
    _, findings = unit(site, "/a", "http://b.test/d", "http://b.test/e")
    assert states(findings) == {"/a": "fetched", "http://b.test/d": "crashed", "http://b.test/e": "crashed"}


def test_a_full_disk_is_not_a_defect_of_a_page(unit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> Any:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("bessemer.crawl.unit.PageWriter.write", no_space)
    with pytest.raises(StorageError, match="no space left"):
        unit({"/a": page()}, "/a")


def test_a_page_that_takes_hours_to_parse_holds_up_no_other_host(unit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """libxml2 compares each `</i>` with 50 000 open elements."""
    monkeypatch.setattr("bessemer.crawl.parser.CPU_SECONDS", 1.0)
    slow = "<b>" * 50_000 + "</i>" * 50_000
    site: dict[str, Answer | str] = {"a.test/slow": slow} | {f"b.test/{n}": page() for n in range(20)}
    at: list[float] = []
    _, findings = unit(
        site, *(f"http://{path}" for path in site), report=lambda: at.append(time.monotonic()), max_page_bytes=1 << 20
    )
    found = {outcome.url: outcome for outcome in findings.outcomes}
    assert found["http://a.test/slow"].state == "too_slow"
    assert found["http://a.test/slow"].evidence == "more than 1 s of CPU time"
    assert [found[f"http://b.test/{n}"].state for n in range(20)] == ["fetched"] * 20


def test_large_pages_and_compressed_sitemaps_are_read_as_small_ones_are(unit: Any) -> None:
    names = [f"/x{number}" for number in range(2000)]
    listed = "".join(f"<url><loc>http://a.test/s{number}</loc></url>" for number in range(10))
    sitemap = Answer(gzip.compress(f"<urlset>{listed}</urlset>".encode()), content_type="application/gzip")
    site = {"/a": page(*names), "/robots.txt": "Sitemap: /map.gz", "/map.gz": sitemap}
    _, findings = unit(site, "/a", new_origins=["http://a.test"])
    assert set(discovered(findings)) == {*names, *(f"/s{number}" for number in range(10))}


def killing_parser(payload: bytes, url: str, **settings: Any) -> Links:
    """A parser with a fatal defect; at the top of the module, so that a child process finds it."""
    if b"deadly" in payload:
        os.kill(os.getpid(), signal.SIGKILL)
    return find_links(payload, url, **settings)


def test_a_page_that_kills_its_parser_costs_only_itself(unit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bessemer.crawl.host.find_links", killing_parser)
    site = {"/a": page("/x"), "/b": page("/y", text="deadly"), "/c": page("/z")}
    _, findings = unit(site, "/a", "/b", "/c", careful=True)
    assert states(findings) == {"/a": "fetched", "/b": "crashed", "/c": "fetched"}
    assert set(discovered(findings)) == {"/x", "/z"}
