"""Addresses with spelled signs are found whole; verbs before `at` and calls in programs stay."""

from __future__ import annotations

import pytest

from bessemer.clean.pii import comparable
from bessemer.clean.spelled_emails import find_spelled_emails, plain_address
from bessemer.clean.texts import Texts


def found(text: str) -> list[str]:
    texts = Texts([text])
    return [text[start:end] for start, end in find_spelled_emails(texts.joined, texts.codes)]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("write to jane (at) example (dot) org today", "jane (at) example (dot) org"),
        ("Kontakt: max.mustermann(at)verein.example.de", "max.mustermann(at)verein.example.de"),
        ("x [AT] example [DOT] co [DOT] uk, please", "x [AT] example [DOT] co [DOT] uk"),
        ("(info{at}example.com)", "info{at}example.com"),
        ("anna ( at ) example.org", "anna ( at ) example.org"),
        ("joe[dot]black[at]example[dot]com.Thanks", "joe[dot]black[at]example[dot]com"),
        ("ask j_doe at example dot net", "j_doe at example dot net"),
        ("ask jane dot doe at example dot net", "jane dot doe at example dot net"),
        ("my email is jane at example dot org", "jane at example dot org"),
        ("<JANE AT EXAMPLE DOT ORG>", "JANE AT EXAMPLE DOT ORG"),
        ("jörg (at) bücher (punkt) example", "jörg (at) bücher (punkt) example"),
    ],
)
def test_an_address_is_found_whole(text: str, address: str) -> None:
    assert found(text) == [address]


@pytest.mark.parametrize(
    "text",
    [
        "look at example dot com",
        "we met at noon and the dot com boom began",
        "items[at] print(at) f(at)x get (at) once",
        "price (at) 5.50 (dot)",
        "jane (at) nowhere (dot) notadomain",
        "(at) example.com",
        "dot",
        "at)",
        "t] . a)",
    ],
)
def test_other_uses_stay(text: str) -> None:
    assert found(text) == []


def test_an_address_is_compared_as_it_is_written() -> None:
    assert plain_address("jane dot doe [at] example (dot) org") == "jane.doe@example.org"
    assert comparable("email", "Jane (at) example (dot) ORG") == comparable("email", "jane@example.org")
