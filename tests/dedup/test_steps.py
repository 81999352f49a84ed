"""Laws of de-duplication over files: the result depends on the documents only, and every removal has a witness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bessemer.dedup import copies, steps
from bessemer.dedup.exact import normal_form
from bessemer.dedup.shingles import jaccard, shingle_sets
from bessemer.dedup.words import find_words
from bessemer.fingerprint import origin_id

CERTAIN = {"threshold": 0.5, "ngram_size": 2, "num_bands": 128, "rows_per_band": 1, "max_candidates": 1000}
"""Settings by which a pair at the threshold is missed with probability 2^-128."""

WORDS = ["iron", "coke", "lime", "air", "heat", "slag", "steel", "blow"]
law = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def corpora(draw: st.DrawFn) -> dict[str, str]:
    """URL -> text: a few originals, their edits, their copies, and some without a word."""
    texts: list[list[str]] = draw(
        st.lists(st.lists(st.sampled_from(WORDS), min_size=3, max_size=12), min_size=1, max_size=4)
    )
    for _ in range(draw(st.integers(0, 8))):
        edited = list(draw(st.sampled_from(texts)))
        place = draw(st.integers(0, len(edited)))
        edited[place : place + draw(st.integers(0, 1))] = draw(st.lists(st.sampled_from(WORDS), max_size=2))
        texts.append(edited)
    found = [draw(st.sampled_from([" ", "  ", "\n"])).join(words) for words in texts]
    found += draw(st.lists(st.sampled_from(["", " ", "?", "!"]), max_size=3))
    lengths = draw(st.lists(st.integers(0, 2), min_size=len(found), max_size=len(found)))
    return {
        f"http://a.test/{'x' * length}{n:02d}": text
        for n, (length, text) in enumerate(zip(lengths, found, strict=True))
    }


def visited_one_by_one(texts: dict[str, str]) -> dict[str, str]:
    """URL -> the URL that it is removed for, by comparing everything with everything."""
    removed: dict[str, str] = {}
    stays: dict[bytes, str] = {}
    for url in sorted(texts, key=lambda url: (len(url), origin_id(url))):
        first = stays.setdefault(normal_form(texts[url]), url)
        if first != url:
            removed[url] = first
    sets = dict(zip(texts, map(set, (s.tolist() for s in map(one_set, texts.values()))), strict=True))
    kept: list[str] = []
    for url in sorted(stays.values(), key=lambda url: (-len(sets[url]), origin_id(url))):
        alike = {
            other: len(sets[url] & sets[other]) / len(sets[url] | sets[other])
            for other in kept
            if sets[url] | sets[other]
        }
        close = [other for other in alike if alike[other] >= CERTAIN["threshold"]]
        if close:
            removed[url] = min(close, key=lambda other: (-alike[other], origin_id(other)))
        else:
            kept.append(url)
    return {url: removed.get(other, other) for url, other in removed.items()}


def one_set(text: str) -> Any:
    return shingle_sets(find_words([text]).folded(), 2)[0]


def cut(table: pa.Table, num_parts: int) -> list[pa.Table]:
    size = -(-len(table) // num_parts)
    return [table.slice(number * size, size) for number in range(num_parts)]


@law
@given(texts=corpora())
def test_what_stays_is_what_comparing_everything_would_leave(
    texts: dict[str, str], make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    outcome = deduplicate([make_documents(texts)], **CERTAIN)
    expected = visited_one_by_one(texts)
    assert outcome.urls == [url for url in texts if url not in expected]
    for url, verdict in outcome.verdicts.items():
        if url in expected:
            assert verdict["evidence"] == f"{origin_id(expected[url])} {expected[url]}"


@law
@given(texts=corpora(), num_parts=st.integers(1, 4), random=st.randoms(use_true_random=False))
def test_order_parts_and_ranges_are_no_matter(
    texts: dict[str, str],
    num_parts: int,
    random: Any,
    make_documents: Callable[..., pa.Table],
    deduplicate: Callable[..., Any],
) -> None:
    """Also with a cap on buckets; parts may be empty."""
    capped = CERTAIN | {"num_bands": 6, "max_candidates": 2}
    table = make_documents(texts)
    expected = deduplicate([table], **capped)
    order = list(range(len(table)))
    random.shuffle(order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "PARTITION_BYTES", 256)
        patch.setattr(copies, "BATCH_ROWS", 2)
        patch.setattr(copies, "BATCH_BYTES", 100)
        found = deduplicate(cut(table.take(order), num_parts), **capped)
    assert found.urls == [url for url in table["url"].take(order).to_pylist() if url in expected.urls]
    assert found.verdicts == expected.verdicts


@law
@given(texts=corpora(), num_bands=st.integers(2, 6), threshold=st.sampled_from([0.3, 0.5, 0.9, 1.0]))
def test_every_removal_has_a_witness_and_a_second_pass_removes_nothing(
    texts: dict[str, str],
    num_bands: int,
    threshold: float,
    make_documents: Callable[..., pa.Table],
    deduplicate: Callable[..., Any],
) -> None:
    """Even if LSH misses pairs, a removed document resembles a kept one directly, and one document per group stays."""
    given_settings = CERTAIN | {"num_bands": num_bands, "threshold": threshold, "rows_per_band": 2}
    outcome = deduplicate([make_documents(texts)], **given_settings)
    kept = set(outcome.urls)
    for url, verdict in outcome.verdicts.items():
        assert (verdict["verdict"] == "kept") == (url in kept)
        if url in kept:
            assert verdict["rule"] is verdict["value"] is verdict["evidence"] is None
            continue
        identity, witness = verdict["evidence"].split(" ")
        assert witness in kept
        assert identity == origin_id(witness)
        if verdict["rule"] == "exact_duplicate":
            assert normal_form(texts[url]) == normal_form(texts[witness])
            assert verdict["value"] is verdict["threshold"] is None
        else:
            assert verdict["value"] == jaccard(one_set(texts[url]), one_set(texts[witness])) >= threshold
            assert verdict["threshold"] == threshold
    again = deduplicate([outcome.documents], **given_settings)
    assert again.urls == outcome.urls


def test_without_fuzzy_only_exact_copies_go(
    make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    texts = {"b": "one two three", "a/2": "one  two three", "c": "One two three"}
    outcome = deduplicate([make_documents(texts)], fuzzy=False)
    assert outcome.urls == ["b", "c"]
    assert outcome.verdicts["a/2"]["rule"] == "exact_duplicate"
    assert outcome.verdicts["b"]["signals"] == {"jaccard": None, "num_shingles": None}


def test_a_copy_shares_the_fate_of_the_copy_that_stays(
    make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    """`b` is a copy of `a`, which resembles the longer `c`: both go for the sake of `c`, which is kept."""
    body = " ".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(100))
    texts = {"a": body, "bb": body + " ", "c": body + " and more"}
    outcome = deduplicate([make_documents({url: text}) for url, text in texts.items()])
    assert outcome.urls == ["c"]
    for url in ("a", "bb"):
        verdict = outcome.verdicts[url]
        assert verdict["rule"] == "near_duplicate"
        assert verdict["value"] == pytest.approx(96 / 98)
        assert verdict["evidence"] == f"{origin_id('c')} c"


@st.composite
def split_corpora(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, str]]:
    """Texts by URL, and the split of each."""
    texts = draw(corpora())
    splits = draw(st.lists(st.sampled_from(["train", "test"]), min_size=len(texts), max_size=len(texts)))
    return texts, dict(zip(texts, splits, strict=True))


@law
@given(corpus=split_corpora(), num_parts=st.integers(1, 3))
def test_frozen_documents_stay_and_their_duplicates_go(
    corpus: tuple[dict[str, str], dict[str, str]],
    num_parts: int,
    make_documents: Callable[..., pa.Table],
    deduplicate: Callable[..., Any],
) -> None:
    """All held-out documents stay, and no training document that stays resembles one of them."""
    texts, splits = corpus
    table = make_documents(texts)
    column = pa.array([splits[url] for url in table["url"].to_pylist()])
    table = table.set_column(table.schema.get_field_index("split"), table.schema.field("split"), column)
    outcome = deduplicate(cut(table, num_parts), **CERTAIN, splits=("train",))
    kept = set(outcome.urls)
    held_out = [url for url in texts if splits[url] == "test"]
    assert kept >= set(held_out)
    left = [url for url in texts if splits[url] == "train" and url in kept]
    for url in left:
        for other in [*held_out, *left]:
            if other != url and normal_form(texts[url]).strip():
                assert jaccard(one_set(texts[url]), one_set(texts[other])) < CERTAIN["threshold"]
    for url, verdict in outcome.verdicts.items():
        if url not in kept:
            witness = verdict["evidence"].split(" ")[1]
            assert witness in kept
            if verdict["rule"] == "near_duplicate":
                assert verdict["value"] == jaccard(one_set(texts[url]), one_set(texts[witness]))


def test_a_longer_training_document_goes_for_a_held_out_one(
    make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    words = " ".join(f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(100))
    texts = {"held/out": words, "a": words, "longer": words + " and more", "held/copy": words + "\n"}
    table = make_documents(texts)
    splits = pa.array(["test" if url.startswith("held") else "train" for url in texts])
    table = table.set_column(table.schema.get_field_index("split"), table.schema.field("split"), splits)
    outcome = deduplicate([table.slice(2), table.slice(0, 2)], splits=("train",))
    assert sorted(outcome.urls) == ["held/copy", "held/out"]
    assert outcome.verdicts["a"]["rule"] == "exact_duplicate"
    assert outcome.verdicts["longer"]["rule"] == "near_duplicate"


SUMS = [f"Question: what is {a} + {b}? Answer: {a + b}." for a in range(11, 31) for b in (7, 48)]
TABLES = ["\n".join(f"{n * k}, {n + 7 * k}, {n * n + k}" for k in range(9)) for n in range(12, 24)]
PROGRAMS = [f"def f(a, b):\n    return a {sign} b\n" for sign in ("+", "-", "*", "/", "%", "&", "<", "<=", "==", "!=")]
PROBLEMS = [
    f"Anna buys {n} apples for {n + 19} cents each, sells {n // 2} of them at the market for {n + 40} cents and gives"
    f" the rest to her {n % 7} sisters. How many cents does she have now, if she began with {n * 31} of them?"
    for n in range(20, 40)
]
RECORDS = [f"第{n}题：{n + 8}加{3 * n}等于多少？" for n in range(1, 20)]

AMOUNTS = [f"The discount is 50{sign} for all customers of our shop in town." for sign in ("%", "€", "£", "₽", "‰", "")]
STEPS = [f"for (i = 0; i < n; i{step}) total = total {sign} x[i];" for step in ("++", "--") for sign in ("+", "-", "/")]
FORMULAS = [f"If \\alpha {sign} \\beta = \\gamma, the angle is right." for sign in ("+", "-", "\\cdot", "=", "/")]
LANGUAGES = [f"I have written programs in {name} for twenty years." for name in ("C", "C++", "C#")]
DECIMALS = ["\n".join(f"{n}.{k}, {k}.{n * k}" for k in range(1, 9)) for n in range(10, 20)]
BRACKETS = ["Compute 2 * (3 + 4) - 5.", "Compute (2 * 3) + 4 - 5.", "Compute 2 * 3 + (4 - 5)."]
NESTED = [
    f"Close all brackets in this order: {line}"
    for line in ("[ ( < {", "( [ { <", "< { ( [", "{ < [ (", "[ ( < > ) {", "( { } [")
]


@pytest.mark.parametrize(
    "texts",
    [SUMS, TABLES, PROGRAMS, PROBLEMS, RECORDS, AMOUNTS, STEPS, FORMULAS, LANGUAGES, DECIMALS, BRACKETS, NESTED],
)
def test_texts_that_differ_in_numbers_and_operators_stay(
    texts: list[str], make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    """They share all other words; a copy with another layout still goes."""
    named = {f"http://a.test/{number:02d}": text for number, text in enumerate(texts)}
    copy = {"http://a.test/a-copy-of-the-first": texts[0].upper() + " ."}
    outcome = deduplicate([make_documents(named | copy)])
    assert len(outcome.urls) == len(texts)
    removed = [verdict for verdict in outcome.verdicts.values() if verdict["verdict"] == "removed"]
    assert [verdict["rule"] for verdict in removed] == ["near_duplicate"]
    assert not outcome.counted["num_left_out"]


def test_near_copies_are_found_in_a_crowd_of_one_form(
    make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    """More tables than `max_candidates`, which differ in their numbers alone, and one cell changed in some of them."""
    tables = ["\n".join(f"{n * k}, {n + 7 * k}, {n * n + k}" for k in range(40)) for n in range(12, 92)]
    texts = {f"http://a.test/{number:02d}": table for number, table in enumerate(tables)}
    texts |= {f"http://a.test/near/{number:02d}": table + ", 5" for number, table in enumerate(tables[:20])}
    outcome = deduplicate([make_documents(texts)])
    assert len(outcome.urls) == len(tables)
    assert not outcome.counted["num_left_out"]


def test_editions_that_differ_in_few_numbers_are_near_duplicates(
    make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    words = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300)]
    texts = {str(year): " ".join([*words[:150], str(year), *words[150:]]) for year in (2019, 2023)}
    assert len(deduplicate([make_documents(texts)]).urls) == 1


def test_a_source_that_loses_most_of_its_documents_raises_an_alarm(
    make_documents: Callable[..., pa.Table], deduplicate: Callable[..., Any]
) -> None:
    """In the counts and in the ledger; a source of a few documents does not."""
    mirror = make_documents({f"http://mirror.test/{n}": "the very same page" for n in range(30)}, "mirror")
    small = make_documents({f"http://small.test/{n}": "the very same page again" for n in range(5)}, "small")
    healthy = make_documents(
        {f"http://healthy.test/{chr(97 + n)}": "page " + chr(97 + n) for n in range(20)}, "healthy"
    )
    outcome = deduplicate([pa.concat_tables([mirror, small]), healthy])
    assert outcome.alarms == {"mirror": (29, 30)}
    evidence = {row["evidence"] for row in outcome.ledger.to_pylist() if "mirror" in row["url"]} - {None}
    assert all(text.endswith("(source `mirror` loses 29 of 30 documents)") for text in evidence)
    assert len(outcome.urls) == 22
