"""robots.txt: the rules of RFC 9309 and of Google's tests; an unreachable robots.txt disallows everything."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bessemer.crawl.fetch import Failure, Response
from bessemer.crawl.limits import MAXIMUM, ROBOTS_BYTES
from bessemer.crawl.robots import Robots, fetch_robots, parse_robots


def response(body: bytes = b"", location: str = "") -> Response:
    return Response(301 if location else 200, "", [], "text/plain", None, body, location, datetime.now(UTC))


def fetch(answers: dict[str, Response | Failure]) -> tuple[Robots, list[str]]:
    asked = []

    async def get(url: str) -> Response | Failure:
        asked.append(url)
        return answers[url]

    return asyncio.run(fetch_robots("http://a.test", "Bessemer", get)), asked


@pytest.mark.parametrize(
    ("failure", "allowed"),
    [
        (Failure("http_404", status=404), True),
        (Failure("http_401", status=401), True),
        (Failure("http_403", status=403), True),
        (Failure("http_410", status=410), True),
        (Failure("http_429", status=429), False),
        (Failure("http_500", status=500), False),
        (Failure("http_503", status=503), False),
        (Failure("timeout"), False),
        (Failure("connection_failed"), False),
        (Failure("unknown_host"), False),
        (Failure("private_address"), False),
        (Failure("tls"), False),
        (Failure("too_large"), False),
        (Failure("broken_response", status=200), False),
        (Failure("bad_redirect", status=301), False),
    ],
)
def test_only_a_missing_file_allows(failure: Failure, allowed: bool) -> None:
    rules, _ = fetch({"http://a.test/robots.txt": failure})
    assert rules.allows("http://a.test/x") is allowed
    assert rules.crawl_delay == 0.0
    assert rules.sitemaps == []


def test_five_redirects_are_followed_across_hosts_and_more_forbid() -> None:
    answers: dict[str, Response | Failure] = {"http://a.test/robots.txt": response(location="http://h1.test/r")}
    for n in range(1, 5):
        answers[f"http://h{n}.test/r"] = response(location=f"http://h{n + 1}.test/r")
    answers["http://h5.test/r"] = response(b"User-agent: *\nDisallow: /x")
    rules, asked = fetch(answers)
    assert len(asked) == 6
    assert (rules.allows("http://a.test/x"), rules.allows("http://a.test/y")) == (False, True)
    answers["http://h5.test/r"] = response(location="http://a.test/robots.txt")
    rules, asked = fetch(answers)
    assert len(asked) == 6
    assert not rules.allows("http://a.test/y")
    rules, _ = fetch({"http://a.test/robots.txt": response(location="javascript:x")})
    assert not rules.allows("http://a.test/y")


def test_half_a_mebibyte_is_read_and_half_a_rule_is_none() -> None:
    filler = b"# filler\n" * (MAXIMUM[ROBOTS_BYTES] // 9 - 4)
    early = b"User-agent: *\nDisallow: /early\n" + filler
    late = early + b"x" * (MAXIMUM[ROBOTS_BYTES] - len(early) - 12) + b"\nDisallow: /late-and-cut-in-the-middle\n"
    rules = parse_robots(late, "Bessemer")
    assert not rules.allows("http://a.test/early")
    assert rules.allows("http://a.test/late-and-cut-in-the-middle")
    assert rules.allows("http://a.test/l")


def test_our_group_is_found_by_equality_and_groups_are_merged() -> None:
    text = b"""User-agent: Bess\nDisallow: /
User-agent: bessemer/2.0\nDisallow: /one
User-agent: other\nUser-agent: BESSEMER # us\nDisallow: /two\nCrawl-delay: 2.5
User-agent: *\nDisallow: /three
Sitemap: https://a.test/s.xml\nsitemap: /relative.xml"""
    rules = parse_robots(text, "Bessemer")
    allowed = [rules.allows(f"http://a.test/{name}") for name in ("one", "two", "three", "four")]
    assert allowed == [False, False, True, True]
    assert rules.crawl_delay == 2.5
    assert rules.sitemaps == ["https://a.test/s.xml", "/relative.xml"]
    assert not parse_robots(text, "Nobody").allows("http://a.test/three")


def test_a_robots_file_stays_fresh_for_a_day() -> None:
    assert parse_robots(b"", "x").is_fresh
    assert not Robots("rules", "x", fetched_at=time.time() - 24 * 3600).is_fresh
    assert not Robots("rules", "x", fetched_at=time.time() + 60).is_fresh  # a clock that was set back
    kept = parse_robots(b"User-agent: *\nDisallow: /x", "y")
    assert Robots(**json.loads(json.dumps(kept.to_json()))) == kept


# RFC 9309 differs from Google's parser here: section 2.2.2 decodes unreserved characters before it compares octets,
# so an encoded rule equals a plain path.
ENCODING = {
    ("/foo/bar/ツ", "/foo/bar/ツ"),
    ("/foo/bar/ツ", "/foo/bar/%E3%83%84"),
    ("/foo/bar/baz", "/foo/bar/%62%61%7A"),
}


def is_known_difference(robots: str, url: str) -> bool:
    if url.endswith("/robots.txt"):
        return True  # RFC 9309, 2.2.2: implicitly allowed; Google's test asks the rules
    return any(url.endswith(path) and f"Allow: {rule}\n" in robots for path, rule in ENCODING)


def token_of(user_agent: str) -> str:
    """The agent of a Google test, cut at the first character that a product token cannot have."""
    return re.match("[A-Za-z_-]*", user_agent)[0]  # type: ignore[index]


def verdicts(robots: bytes, user_agent: str, url: str) -> bool:
    return parse_robots(robots, token_of(user_agent) or "nobody").allows(url)


def test_googles_unit_tests(dataset: Callable[[str], Path]) -> None:
    """The verdicts equal those of google/robotstxt's tests, except agents with a space (not product tokens)."""
    cases = [json.loads(line) for line in (dataset("vec_robots") / "google_robots_test.jsonl").read_text().splitlines()]
    cases = [case for case in cases if case["user_agent"] == token_of(case["user_agent"]) and case["user_agent"]]
    wrong = [
        case
        for case in cases
        if verdicts(case["robots_txt"].encode(), case["user_agent"], case["url"]) != case["allowed"]
        and not is_known_difference(case["robots_txt"], case["url"])
    ]
    assert len(cases) > 120
    assert wrong == []


def test_googles_specification_tests(dataset: Callable[[str], Path]) -> None:
    """google/robotstxt-spec-test: 41 files, 400 verdicts."""
    seen, wrong = 0, []
    for path in sorted((dataset("vec_robots") / "google_spec").rglob("*.textproto")):
        for robots, url, agent, allowed in spec_cases(path.read_text()):
            seen += 1
            if token_of(agent) != agent or is_known_difference(robots.decode("utf-8", "replace"), url):
                continue
            if verdicts(robots, agent, url) != allowed:
                wrong.append((path.name, robots, url, agent, allowed))
    assert seen == 400
    assert wrong == []


def spec_cases(text: str) -> Iterator[tuple[bytes, str, str, bool]]:
    """(robots.txt, URL, agent, allowed) of a textproto file: fields in order, adjacent strings joined."""
    tokens = re.findall(r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|#[^\n]*|(\w+)\s*:|(\w+)', text)
    name, values, fields = "", b"", {}
    for double, single, field, word in [*tokens, ("", "", "end", "")]:
        if field:
            fields[name] = values
            name, values = field, b""
        elif word and name == "expected_outcome":
            yield fields["robotstxt"], fields["testurl"].decode(), fields["useragent"].decode(), word == "ALLOWED"
        else:
            values += unescape(double or single)


def unescape(text: str) -> bytes:
    simple = {"n": b"\n", "r": b"\r", "t": b"\t"}

    def byte(found: re.Match[bytes]) -> bytes:
        code = found[1].decode()
        if code[0] == "x":
            return bytes([int(code[1:], 16)])
        return bytes([int(code, 8) & 255]) if code.isdigit() else simple.get(code, code.encode())

    return re.sub(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", byte, text.encode())


def test_real_files(dataset: Callable[[str], Path]) -> None:
    """700 robots.txt of large sites, also in UTF-16, with marks and typing errors: read, and rarely meaningless."""
    root = dataset("vec_robots")
    closed = 0
    for path in [p for p in (root / "real_robots").rglob("*") if p.is_file()]:
        closed += not parse_robots(path.read_bytes(), "Bessemer").allows("http://a.test/some/page.html")
    assert 0 < closed < 100
    for name in ("utf8", "utf16le", "utf16be"):
        rules = parse_robots((root / f"crawler_commons/robots/robots-with-{name}-bom.txt").read_bytes(), "Bessemer")
        assert not rules.allows("http://a.test/login.aspx" if "16" in name else "http://a.test/profile"), name
