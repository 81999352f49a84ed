"""The URLs that a crawl leaves out, and the verdict of each."""

from __future__ import annotations

import time

import pytest

from bessemer.crawl.scope import Scope, is_trap

TYPES = ("text/html", "application/xhtml+xml", "text/plain")


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("http://docs.test/a", ""),
        ("http://docs.test:8080/a", ""),
        ("http://www.docs.test/a", "out_of_scope"),
        ("http://x.wild.test/a", ""),
        ("http://wild.test/a", "out_of_scope"),
        ("http://notwild.test/a", "out_of_scope"),
        ("http://port.test:81/", ""),
        ("http://port.test/", "out_of_scope"),
        ("http://docs.test/private/a", "excluded"),
        ("http://docs.test/photo.JPG", "file_type"),
        ("http://docs.test/paper.pdf?x=1", "file_type"),
        ("http://docs.test/readme.txt", ""),
        ("http://docs.test/.git", ""),
        ("http://docs.test/v1.2", ""),
        ("http://docs.test/" + "a" * 2000, "trap"),
        ("http://docs.test/a/b/a/b/a/b/", "trap"),
    ],
)
def test_refusals(url: str, refusal: str) -> None:
    scope = Scope(["docs.test", "*.wild.test", "port.test:81"], [], [r"/private/"], TYPES)
    assert scope.refusal(url) == refusal


def test_include_is_a_choice() -> None:
    scope = Scope(["docs.test"], [r"/en/", r"/de/"], [r"old"], TYPES)
    urls = ["http://docs.test/en/a", "http://docs.test/fr/a", "http://docs.test/de/old"]
    assert [scope.refusal(url) for url in urls] == ["", "excluded", "excluded"]


def test_media_types_decide_which_extensions_are_pages() -> None:
    scope = Scope(["docs.test"], [], [], ["text/html", "application/pdf", "image/*"])
    names = ["a.pdf", "a.png", "a.zip"]
    assert [scope.refusal(f"http://docs.test/{name}") for name in names] == ["", "", "file_type"]
    assert [scope.accepts(kind) for kind in ("text/html", "image/webp", "text/css")] == [True, True, False]


@pytest.mark.parametrize(
    ("path", "trapped"),
    [
        ("/a/a/a/", True),
        ("/x/about/contact/about/contact/about/contact/page", True),
        ("/x/about/about/page", False),
        ("/2024/1/1/1/", False),
        ("/" + "a/b/" * 13, True),
        ("/calendar/2024/05", False),
        ("/calendar/2147/05", True),
        ("/calendar?month=5&year=2147", True),
        ("/history/1492", False),
        ("/search?" + "&".join(["tag=x"] * 11), True),
        ("/search?" + "&".join(["tag=x"] * 4), False),
    ],
)
def test_traps(path: str, trapped: bool) -> None:
    assert is_trap(f"http://docs.test{path}") is trapped


def test_a_query_of_a_thousand_parameters_takes_little_time() -> None:
    began = time.process_time()
    query = "&".join(f"{number:x}" for number in range(500))
    assert not any(is_trap(f"http://docs.test/?{query}&{number}") for number in range(2000))
    assert time.process_time() - began < 2
