"""Tests that questions are about unseen entries only, repeat their page word for word, and have one right answer."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.docsite.questions import NUM_CHOICES, Page, Question, ask, candidates, unseen

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]
ENTRY = st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["one", "two"]), st.integers(0, 30))


def summary(number: int) -> str:
    return f"Return the {WORDS[number % 12]} of the {WORDS[number // 12]} that was given."


def entry(name: str, module: str, text: str) -> dict[str, str]:
    return {
        "url": f"http://x.test/{module}/",
        "module": module,
        "name": f"{module}.{name}",
        "kind": "function",
        "signature": f"{module}.{name}(x, y=1)",
        "summary": text,
        "doc": text,
    }


def page_text(entries: list[dict[str, str]]) -> str:
    shown = (f"{e['name'].rpartition('.')[2]}\n{e['signature']}\n{e['summary']} And more.\n" for e in entries)
    return "Title\n" + "".join(shown)


def questions_about(
    entries: list[dict[str, str]], others: list[str] | None = None, num_questions: int = 100
) -> tuple[list[Question], Counter[str]]:
    dropped: Counter[str] = Counter()
    urls = sorted({e["url"] for e in entries})
    pages = [Page(url, page_text([e for e in entries if e["url"] == url])) for url in urls]
    found = unseen(candidates(entries, pages, dropped), others or [], dropped)
    return ask(found, num_questions, dropped), dropped


SIX = [entry(name, "one", summary(number)) for number, name in enumerate("abcdef")]


def test_a_question_goes_on_as_its_page_does() -> None:
    questions, _ = questions_about(SIX)
    text = page_text(SIX)
    assert len(questions) == 6
    for question in questions:
        assert question.query.startswith(("a\n", "b\n", "c\n", "d\n", "e\n", "f\n"))
        assert question.query.endswith("(x, y=1)\n")
        assert question.query + question.choices[question.gold] in text


@given(st.lists(ENTRY, unique_by=lambda e: e[:2], max_size=16), st.lists(st.integers(0, 30), max_size=4))
def test_choices_differ_and_were_never_seen_elsewhere(found: list[tuple[str, str, int]], seen: list[int]) -> None:
    entries = [entry(name, module, summary(number)) for name, module, number in found]
    questions, dropped = questions_about(entries, [f"Other\n{summary(number)} \nmore" for number in seen])
    rights = {e["signature"]: e["summary"] for e in entries}
    for question in questions:
        assert len(set(question.choices)) == NUM_CHOICES
        assert question.choices[question.gold] == rights[question.query.split("\n")[1]]
        assert set(question.choices).isdisjoint(map(summary, seen))
    assert len(questions) + sum(dropped.values()) == len(entries)


@pytest.mark.parametrize(
    "line", ["one.a(x, y=1)", summary(0), f"{summary(0)} And more."], ids=["signature", "summary", "paragraph"]
)
def test_what_stands_in_another_split_is_neither_asked_nor_offered(line: str) -> None:
    questions, dropped = questions_about(SIX, [f"before\n  {line}\nafter"])
    assert dropped["seen in another split"] == 1
    assert len(questions) == 5
    assert all(summary(0) not in question.choices for question in questions)


def test_only_what_the_page_still_shows_is_asked() -> None:
    dropped: Counter[str] = Counter()
    text = page_text(SIX).replace(summary(2), "masked").replace("one.b(", "two.b(")
    found = candidates(SIX, [Page("http://x.test/one/", text)], dropped)
    assert sorted(c.name for c in found) == ["one.a", "one.d", "one.e", "one.f"]
    assert dropped["not on the page as rendered"] == 2
    assert candidates(SIX, [Page("http://x.test/elsewhere/", text)], dropped) == []


def test_what_gives_itself_away_or_says_too_little_is_left_out() -> None:
    odd = [
        entry("make_blobs", "one", "Call make_blobs with the given arguments."),
        entry("Thing", "one", "The Thing of the things that there are."),
        entry("mean", "one", "Return the mean of the numbers, a plain word."),
        entry("short", "one", "Too short."),
        entry("long", "one", "Far too long " * 20),
    ]
    questions, dropped = questions_about(SIX + odd)
    assert dropped["summary holds the name"] == 2
    assert dropped["summary too short or too long"] == 2
    assert len(questions) == 7


def test_two_entries_with_one_summary_are_both_left_out() -> None:
    questions, dropped = questions_about([*SIX, entry("again", "two", summary(0).upper())])
    assert dropped["summary of several entries"] == 2
    assert len(questions) == 5


def test_the_wrong_choices_are_near_in_length_and_from_the_module() -> None:
    """A language model prefers short texts. The length of the choices must not give the answer away."""
    entries = [entry(f"f{n}", "one", "Return " + "x" * (20 + n)) for n in range(60)]
    entries += [entry(f"g{n}", "two", f"Compute {'y' * (20 + n)}") for n in range(60)]
    questions, _ = questions_about(entries, num_questions=1000)
    assert len(questions) == 120
    for question in questions:
        right = question.choices[question.gold]
        assert all(abs(len(choice) - len(right)) <= 8 for choice in question.choices)
        assert len({choice.split()[0] for choice in question.choices}) == 1


def test_a_small_module_borrows_from_its_package() -> None:
    entries = [entry(f"f{n}", f"pkg.m{n}", summary(n)) for n in range(5)]
    assert len(questions_about(entries)[0]) == 5
    questions, dropped = questions_about(entries[:3])
    assert questions == []
    assert dropped["too few other summaries"] == 3


def test_a_smaller_set_of_questions_is_part_of_a_larger_one() -> None:
    entries = [entry(f"f{n}", "one", summary(n)) for n in range(40)]
    few, many = questions_about(entries, num_questions=7)[0], questions_about(entries, num_questions=30)[0]
    assert len(few) == 7
    assert {q.id for q in few} < {q.id for q in many}
    assert questions_about(list(reversed(entries)), num_questions=30)[0] == many


def test_the_right_answer_stands_anywhere() -> None:
    entries = [entry(f"f{n}", "one", f"{summary(n % 140)} Case {n}.") for n in range(400)]
    places = Counter(question.gold for question in questions_about(entries, num_questions=400)[0])
    assert set(places) == {0, 1, 2, 3}
    assert max(places.values()) < 1.4 * min(places.values())
